# Completion of docker-flatten for fish. For this shell only:
#   docker-flatten --completion fish | source
# and for every new one:
#   docker-flatten --completion fish > ~/.config/fish/completions/docker-flatten.fish

function __docker_flatten_images -d 'Names of the engine\'s images'
    type -q docker; or return
    docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | string match -v '*<none>*'
end

function __docker_flatten_image -d 'What an IMAGE may be'
    set -l word (commandline -ct)
    # A space in a name is typed with a backslash.
    set -l name (string unescape -- $word)
    and set word $name
    # The word may be the value in --output=VALUE.
    set -l typed (string match -r -- '^--[a-z-]+=' $word)
    set word (string replace -r -- '^--[a-z-]+=' '' $word)
    switch $word
        case 'docker-daemon:*'
            printf 'docker-daemon:%s\n' (__docker_flatten_images)
        case 'docker-archive:*' 'oci-archive:*' 'oci:*'
            set -l transport (string split -m 1 : -- $word)
            printf "$transport[1]:%s\n" (__fish_complete_path $transport[2] | string split -f 1 \t)
        case 'docker://*'
            return
        case '/*' './*' '../*' '~*'
            __fish_complete_path $word
        case '*'
            printf '%s\n' docker-daemon:\tan\ image\ of\ the\ engine docker-archive:\ta\ docker\ save\ archive oci:\ta\ directory\ in\ the\ OCI\ layout oci-archive:\ta\ tar\ in\ the\ OCI\ layout docker://\tan\ image\ in\ a\ registry
            __docker_flatten_images
            # Archives, and directories, which may lead to one.
            __fish_complete_path $word | string match -r -- '^.*(?:/|\.tar|\.tgz|\.tar\.(?:gz|bz2|xz|zst))(?:\t.*)?$'
    end
end

# Whether no IMAGE has been given yet.
function __docker_flatten_needs_image
    set -l expects 0
    for word in (commandline -opc)[2..-1]
        if test $expects = 1
            set expects 0
            continue
        end
        switch $word
            case -t --tag -b --base -o --output --compare --context --dockerfile --builder --platform --compression --verify --max-waste --max-layers --max-size --report --progress --completion
                set expects 1
            case '-?*'
                continue
            case '*'
                return 1
        end
    end
    return 0
end

complete -c docker-flatten -f
complete -c docker-flatten -n __docker_flatten_needs_image -a '(__docker_flatten_image)'
complete -c docker-flatten -s t -l tag -x -a '(__docker_flatten_images)' -d 'Name of the new image'
complete -c docker-flatten -s b -l base -x -a 'auto scratch (__docker_flatten_images)' -d 'Where the base ends'
complete -c docker-flatten -s o -l output -x -a '- (__docker_flatten_image)' -d 'Where the image goes'
complete -c docker-flatten -l compare -x -a '(__docker_flatten_image)' -d 'Hold the image against another one'
complete -c docker-flatten -l context -x -a '- (__fish_complete_directories)' -d 'Also write the build context'
complete -c docker-flatten -l builder -x -a 'auto native engine' -d 'What builds'
complete -c docker-flatten -l platform -x -a 'linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6 linux/386 linux/ppc64le linux/s390x linux/riscv64 windows/amd64' -d 'Which platform of an index'
complete -c docker-flatten -l compression -x -a 'gzip zstd none' -d 'How the new layer is compressed'
complete -c docker-flatten -l verify -x -a 'structure content off' -d 'How the result is checked'
complete -c docker-flatten -l attest -d 'Make an in-toto statement about the result'
complete -c docker-flatten -l dry-run -d 'Build nothing; show the plan and the Dockerfile'
complete -c docker-flatten -l max-waste -x -d 'Most bytes, or share of them, that may be wasted'
complete -c docker-flatten -l max-layers -x -d 'Most layers that the image may have'
complete -c docker-flatten -l max-size -x -d 'Most bytes that the layers may have'
complete -c docker-flatten -l json -d 'Print the result as one JSON object'
complete -c docker-flatten -l report -r -F -d 'Write a page about it: HTML or SVG'
complete -c docker-flatten -l progress -x -a 'auto tty plain none' -d 'How progress is shown'
complete -c docker-flatten -l dockerfile -x -a 'flattened original' -d 'Which Dockerfile to write'
complete -c docker-flatten -l no-cache -d 'Do it again even if the result is there'
complete -c docker-flatten -l offline -d "Don't ask registries for the base"
complete -c docker-flatten -l insecure -d 'Let registries speak plain HTTP'
complete -c docker-flatten -l force -d 'Replace a file that is no earlier result'
complete -c docker-flatten -s q -l quiet -d 'Only the product and errors'
complete -c docker-flatten -l completion -x -a 'bash zsh fish' -d 'Print a completion script'
complete -c docker-flatten -l man -d 'Print the manual page'
complete -c docker-flatten -l version -d 'Print the version'
complete -c docker-flatten -s h -l help -d 'Print the help'
