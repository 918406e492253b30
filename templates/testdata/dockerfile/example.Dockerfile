# Flattened from demo:latest by docker-flatten.
# Image: sha256:9f3c6b1de1a0
# Base: debian:12, 1 layer (local image with the same layer)
# Merged into one: 7 layers, 78.6MB.

FROM debian:12
MAINTAINER Jo <jo@example.com>

#   17.4MB | RUN apt-get update
#   61.2MB | RUN apt-get install -y nginx
#       0B | RUN mkdir /layers
#       2B | RUN echo 1 > /layers/one
#       2B | RUN echo 2 > /layers/two
#       0B | RUN touch layerfile.txt
#       0B | RUN rm layerfile.txt
ADD layer.tar.gz /

EXPOSE 123 234
CMD ["nginx", "-g", "daemon off;"]
