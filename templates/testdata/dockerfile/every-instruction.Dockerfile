# Flattened from app:1 by docker-flatten.
# Base: base:1, 1 layer
# Merged into one: 1 layer, 0B.

FROM base:1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV A=1 B="two words"

#       0B | RUN true
ADD layer.tar.gz /

LABEL org.opencontainers.image.title=App \
      org.opencontainers.image.description="Does what it says, and says what it does" \
      maintainer=Jo
EXPOSE 53/udp 80
VOLUME ["/data", "/my logs"]
WORKDIR /srv
USER 1000:1000
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --retries=3 CMD curl -f http://localhost/ || exit 1
ENTRYPOINT exec /srv/run
CMD ["--port", "80"]
ONBUILD COPY . /srv
MAINTAINER Jo
