# Flattened from oci:layout:app by docker-flatten.
# Platform: linux/arm64
# Base: none (as asked with --base scratch)
# Merged into one: 2 layers, 9MB.
# To build: docker build --platform linux/arm64 .

FROM scratch

#      2MB | ADD file:5d2f in /
#      7MB | COPY app /app
ADD layer.tar.gz /

ENTRYPOINT ["/app"]
