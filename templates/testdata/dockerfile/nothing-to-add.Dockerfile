# Flattened from app:1 by docker-flatten.
# Base: debian:12, 1 layer

FROM debian:12

CMD ["x"]
