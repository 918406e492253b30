# Completion of docker-flatten for bash 3.2 and later. For this shell only:
#   eval "$(docker-flatten --completion bash)"
# and for every new one:
#   docker-flatten --completion bash > ~/.local/share/bash-completion/completions/docker-flatten

# _docker_flatten_images prints the names of the engine's images.
_docker_flatten_images() {
    command -v docker >/dev/null 2>&1 || return 0
    docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | grep -v '<none>'
}

# _docker_flatten_offer adds those of the lines on stdin that begin with the
# current word (or with $2, in front of which $1 has been typed).
_docker_flatten_offer() {
    local line typed=${1-} begin=${2-$cur}
    while IFS= read -r line; do
        [[ $line == "$begin"* ]] && replies+=("$typed$line")
    done
}

# _docker_flatten_files adds the paths that begin with $2, in front of which $1
# has been typed.
_docker_flatten_files() {
    local line
    compopt -o filenames 2>/dev/null # bash quotes them, and marks directories
    while IFS= read -r line; do
        replies+=("$1$line")
    done < <(compgen -f -- "$2")
}

# _docker_flatten_archives adds the archives that begin with the current word,
# and directories, which may lead to one. They stand among names of images,
# which bash must not take for files: so they are quoted here.
_docker_flatten_archives() {
    local line
    while IFS= read -r line; do
        case $line in
        *.tar | *.tgz | *.tar.gz | *.tar.bz2 | *.tar.xz | *.tar.zst) replies+=("$(printf %q "$line")") ;;
        *) [[ -n $cur && -d $line ]] && replies+=("$(printf %q "$line")/") ;;
        esac
    done < <(compgen -f -- "$cur")
}

# _docker_flatten_image adds what an IMAGE (or, with $1, a DEST) may be.
_docker_flatten_image() {
    case $cur in
    docker-daemon:*) _docker_flatten_offer docker-daemon: "${cur#docker-daemon:}" < <(_docker_flatten_images) ;;
    docker-archive:*) _docker_flatten_files docker-archive: "${cur#docker-archive:}" ;;
    oci-archive:*) _docker_flatten_files oci-archive: "${cur#oci-archive:}" ;;
    oci:*) _docker_flatten_files oci: "${cur#oci:}" ;;
    docker://*) ;;
    /* | ./* | ../* | '~'*) _docker_flatten_files '' "$cur" ;;
    *)
        _docker_flatten_offer < <(printf '%s\n' docker-daemon: docker-archive: oci: oci-archive: docker://)
        _docker_flatten_offer < <(_docker_flatten_images)
        [[ -n ${1-} ]] && _docker_flatten_offer <<< -
        _docker_flatten_archives
        ;;
    esac
}

_docker_flatten() {
    local cur option line word given= expects= replies=() breaks
    COMPREPLY=()

    # Bash breaks words at : and =, which names and options are full of: take
    # the words from the line instead. A backslash, which bash itself puts in front
    # of a space, keeps a word together.
    line=${COMP_LINE:0:COMP_POINT}
    local words=()
    read -a words <<< "$line"
    case $line in
    *\\[[:space:]]) ;;
    *[[:space:]]) words+=('') ;;
    esac
    cur=${words[${#words[@]}-1]}
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ -n $expects ]]; then
            expects=
            continue
        fi
        case $word in
        -t | --tag | -b | --base | -o | --output | --compare | --context | --dockerfile | --builder | --platform | --compression | --verify | --max-waste | --max-layers | --max-size | --report | --progress | --completion)
            expects=$word ;;
        -?*) ;;
        *) given=$word ;;
        esac
    done
    option=$expects
    local typed=
    if [[ -z $option && $cur == --*=* ]]; then
        option=${cur%%=*}
        typed=$option=
        cur=${cur#*=}
    fi

    case $option in
    -b | --base) _docker_flatten_offer < <(printf '%s\n' auto scratch; _docker_flatten_images) ;;
    -t | --tag) _docker_flatten_offer < <(_docker_flatten_images) ;;
    --compare) _docker_flatten_image ;;
    -o | --output) _docker_flatten_image dest ;;
    --context)
        _docker_flatten_offer <<< -
        compopt -o filenames 2>/dev/null
        _docker_flatten_offer < <(compgen -d -- "$cur")
        ;;
    --report | --attest) _docker_flatten_files '' "$cur" ;;
    --builder) _docker_flatten_offer < <(printf '%s\n' auto native engine) ;;
    --verify) _docker_flatten_offer < <(printf '%s\n' structure content off) ;;
    --progress) _docker_flatten_offer < <(printf '%s\n' auto tty plain none) ;;
    --dockerfile) _docker_flatten_offer < <(printf '%s\n' flattened original) ;;
    --compression) _docker_flatten_offer < <(printf '%s\n' gzip zstd none) ;;
    --completion) _docker_flatten_offer < <(printf '%s\n' bash zsh fish) ;;
    --platform)
        _docker_flatten_offer < <(printf '%s\n' linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6 linux/386 \
            linux/ppc64le linux/s390x linux/riscv64 windows/amd64)
        ;;
    '')
        case $cur in
        -*)
            _docker_flatten_offer < <(printf '%s\n' -t --tag -b --base -o --output --compare --context --dockerfile --builder --platform \
                --compression --verify --attest --dry-run --max-waste --max-layers --max-size --json --report --progress --no-cache --offline --insecure --force -q --quiet \
                --completion --man --version -h --help)
            ;;
        *) [[ -n $given ]] || _docker_flatten_image ;;
        esac
        ;;
    esac

    # Bash replaces only what stands behind the last break in the word.
    local whole=$typed$cur cut=
    breaks=${COMP_WORDBREAKS//[^:=]/}
    case $breaks in
    *:*=* | *=*:*) cut=${whole%"${whole##*[:=]}"} ;;
    *:*) cut=${whole%"${whole##*:}"} ;;
    *=*) cut=${whole%"${whole##*=}"} ;;
    esac
    for word in ${replies[@]+"${replies[@]}"}; do
        word=$typed$word
        COMPREPLY+=("${word#"$cut"}")
    done
    if (( ${#COMPREPLY[@]} == 1 )); then
        case ${COMPREPLY[0]} in *[:/]) compopt -o nospace 2>/dev/null ;; esac # more is to follow
    fi
}

complete -F _docker_flatten docker-flatten
