#compdef docker-flatten
# Completion of docker-flatten for zsh. For this shell only, after compinit:
#   source <(docker-flatten --completion zsh)
# and for every new one, in a directory of your fpath:
#   docker-flatten --completion zsh > "${fpath[1]}/_docker-flatten"

# The names of the engine's images, with the prefix and suffix given.
_docker_flatten_images() {
    (( $+commands[docker] )) || return 1
    local -a names
    names=(${(f)"$(docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)"})
    names=(${names:#*<none>*})
    compadd "$@" -a names
}

# What an IMAGE may be.
_docker_flatten_image() {
    local -a transports
    if compset -P docker-daemon:; then
        _docker_flatten_images
    elif compset -P docker-archive: || compset -P oci-archive: || compset -P oci:; then
        _files
    elif compset -P docker://; then
        _message 'image in a registry'
    elif [[ $PREFIX == (/|./|../|\~)* ]]; then
        _files
    else
        transports=(docker-daemon: docker-archive: oci: oci-archive: docker://)
        compadd -S '' -a transports
        _docker_flatten_images
        _files -g '*.(tar|tgz|tar.gz|tar.bz2|tar.xz|tar.zst)(-.)'
    fi
}

_docker_flatten_dest() {
    compadd -- -
    _docker_flatten_image
}

_docker_flatten_base() {
    compadd auto scratch
    _docker_flatten_images
}

_docker_flatten_directory() {
    compadd -- -
    _files -/
}

_docker-flatten() {
    _arguments -s -S \
        '*'{-t+,--tag=}'[name of the new image]:name:_docker_flatten_images' \
        '(-b --base)'{-b+,--base=}'[where the base ends]:base, or number of layers:_docker_flatten_base' \
        '(-o --output)'{-o+,--output=}'[where the image goes]:destination:_docker_flatten_dest' \
        '--compare=[hold the image against another one]:image:_docker_flatten_image' \
        '--context=[also write the build context]:directory:_docker_flatten_directory' \
        '--builder=[what builds]:builder:(auto native engine)' \
        '--platform=[which platform of an index]:platform:(linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6 linux/386 linux/ppc64le linux/s390x linux/riscv64 windows/amd64)' \
        '--compression=[how the new layer is compressed]:compression:(gzip zstd none)' \
        '--verify=[how the result is checked]:check:(structure content off)' \
        '--attest=-[make an in-toto statement about the result]::file:_files' \
        '--dry-run[build nothing; show the plan and the Dockerfile]' \
        '--max-waste=[most bytes, or share of them, that may be wasted]:share or size:' \
        '--max-layers=[most layers that the image may have]:number:' \
        '--max-size=[most bytes that the layers may have]:size:' \
        '--json[print the result as one JSON object]' \
        '*--report=[write a page about it]:HTML or SVG file:_files -g "*.(html|svg)(-.)"' \
        '--progress=[how progress is shown]:display:(auto tty plain none)' \
        '--dockerfile=[which Dockerfile to write]:form:(flattened original)' \
        '--no-cache[do it again even if the result is there]' \
        '--offline[ask no registry for the base]' \
        '--insecure[let registries speak plain HTTP]' \
        '--force[replace a file that is no earlier result]' \
        '(-q --quiet)'{-q,--quiet}'[only the product and errors]' \
        '(- *)--completion=[print a completion script]:shell:(bash zsh fish)' \
        '(- *)--man[print the manual page]' \
        '(- *)--version[print the version]' \
        '(- *)'{-h,--help}'[print the help]' \
        '1:image:_docker_flatten_image'
}

if [[ ${funcstack[1]} == _docker-flatten ]]; then
    _docker-flatten "$@" # autoloaded from fpath: this is its first call
else
    compdef _docker-flatten docker-flatten
fi
