#!/usr/bin/env bash
# Makes two images without a registry, from a static busybox, as tar archives in the folder of the first
# argument: localhost/pause:1, which sleeps, and localhost/busybox:1.
set -euo pipefail

folder=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

packed() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 "$@"; }

root_folder() {
    mkdir -p "$work/root"/{bin,etc,tmp,proc,sys,dev,run}
    chmod 1777 "$work/root/tmp"
    cp "$(command -v busybox)" "$work/root/bin/busybox"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$work/root/bin/$applet"
    done
    printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$work/root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$work/root/etc/group"
}

# `image NAME CONFIG`: one layer, and CONFIG says what runs in it.
image() {
    local digest
    digest=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    cat >"$work/config.json" <<END
{"architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z", "config": $2,
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]}, "history": [{"created": "1970-01-01T00:00:00Z"}]}
END
    cat >"$work/manifest.json" <<END
[{"Config": "config.json", "RepoTags": ["localhost/$1:1"], "Layers": ["layer.tar"]}]
END
    packed -C "$work" -cf "$folder/$1.tar" manifest.json config.json layer.tar
}

mkdir -p "$folder"
root_folder
packed -C "$work/root" -cf "$work/layer.tar" .
image pause '{"Entrypoint": ["/bin/busybox", "sleep", "2147483647"], "Env": ["PATH=/bin"]}'
image busybox '{"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}'
