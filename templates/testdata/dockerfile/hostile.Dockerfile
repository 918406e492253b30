# Flattened from escape=`\nRUN evil by docker-flatten.
# Image: \x1b[2J\u202e
# Base: d\r\nRUN evil, 0 layers (\\nRUN evil)
# Merged into one: 4 layers, 10B.
# Deleted from the base: 11 paths
#   /a\nRUN evil
#   /b
#   /c
#   /d
#   /e
#   /f
#   /g
#   /h
#   /i
#   … and 2 more
# What ADD can't keep of them:
#   \nRUN evil
# Where config and history disagree, the config counts:
#   \rRUN evil
# - check=error=true
# - syntax=evil/frontend
# \nRUN evil
# \u2028RUN evil\u0085RUN evil
# \xff\xfe

FROM debian
# - check=error=true\nRUN evil
USER a

#       1B | RUN a
#          | RUN evil
#          | RUN evil\rRUN evil
#          | # check=error=true
#       2B | RUN long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long
#       3B | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#          | RUN evil
#       4B | RUN echo \x1b]0;title\x07 \u202e \x00 \xff \
RUN ["sh", "-c", "p=$(printf '/caf\\351\\012.'); rm -rf -- \"${p%.}\""]
RUN ["rm", "-rf", "--", "/a\nRUN evil", "/\"],\n", "/x\u001b[0m"]
ADD layer.tar.gz /
