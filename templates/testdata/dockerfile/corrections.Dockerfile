# Flattened from app:1 by docker-flatten.
# Base: debian:12, 2 layers
# Merged into one: 1 layer, 10B.
# Where config and history disagree, the config counts:
#   ENV PATH: "/bin" in the history, "/usr/bin:/bin" in the config
# 3 paths changed only in their times.
# No Dockerfile can write the newlines in some values: they are the argument NL_.
# To build: docker build --build-arg NL_=$'\n' .

FROM debian:12
ARG NL_
ARG NL_="${NL_:?build with --build-arg NL_ set to a newline}"
ARG EQ="="

#      10B | (no line in the history)
ADD layer.tar.gz /

# the history has another value
ENV PATH=/usr/bin:/bin
ENV MOTD="one${NL_}two"
# the history has no line for it
LABEL "a${EQ}b"=c
