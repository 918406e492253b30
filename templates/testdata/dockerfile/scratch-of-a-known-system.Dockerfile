# Flattened from app:1 by docker-flatten.
# Base: none (as asked)
# The image is Alpine Linux 3.19.1, 15 packages.
# Merged into one: 1 layer, 0B.

FROM scratch

#       0B | ADD x /
ADD layer.tar.gz /
