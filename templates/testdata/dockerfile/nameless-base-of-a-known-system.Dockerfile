# Stage linux-amd64
# Base: Debian 12 (bookworm), 97 packages, 74.8MB, built 2024-05-13.
#   It is the lowest layer, which no name refers to (guessed)
#   FROM debian:12-slim is probably the same.
#   Its variables:
#   ENV LANG=C.UTF-8
#   ENV check=error=true
# Merged into one: 1 layer, 0B.
# Deleted from the base: 1 path
#   /etc/motd
# Replaced in the base: 1 path
#   /var/ by a new directory

FROM docker-flatten/base:1 AS linux-amd64

#       0B | RUN true
ADD layer-linux-amd64.tar.gz /

# the next 2: the history has no line for it
USER app
WORKDIR /app
# the history says SIGTERM
STOPSIGNAL SIGINT
CMD ["x"]
