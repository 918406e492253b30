# Flattened from app:1 by docker-flatten.
# Image: sha256:77
# Base: the lowest 4 layers, which no name refers to (guessed from the history: the first CMD ends it)
# The base is in base.tar. Before building: docker load -i base.tar
# Merged into one: 2 layers, 1.24kB.
# Deleted from the base: 2 paths
#   /etc/motd
#   /usr/share/doc
# What ADD can't keep of them:
#   /bin/x: extended attribute user.origin
#   /var/a: fractions of a second in its time

FROM app-base:flatten

#       1B | RUN <<EOF
#          | apt-get update
#          | apt-get install -y --no-install-recommends curl
#          | EOF
#   1.23kB | COPY . /srv
RUN ["rm", "-rf", "--", "/etc/motd", "/usr/share/doc"]
ADD layer.tar.gz /
