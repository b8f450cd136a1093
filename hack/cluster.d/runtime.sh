# shellcheck shell=bash
# containerd, with the images and networks of its pods. Sourced by hack/cluster.

start_containerd() {
    names
    mkdir -p "$run/containerd" "$run/cni"
    containerd_config >"$run/containerd/config.toml"
    network_config >"$run/cni/10-secretfs.conflist"
    launch containerd containerd --config "$run/containerd/config.toml"
}

await_containerd() { await 20 containerd on_containerd version; }

on_containerd() { ctr -a "$run/containerd/containerd.sock" -n k8s.io "$@"; }

import_images() {
    local image
    for image in pause busybox; do
        on_containerd images import "$tools/images/$image.tar" >>"$run/log/ctr.log" 2>&1 ||
            { tail -n 5 "$run/log/ctr.log" >&2; return 1; }
    done
}

# Many test machines lack CAP_SYS_RESOURCE, so they may not lower oom scores.
containerd_config() {
    cat <<END
version = 2
root = "$run/containerd/root"
state = "$run/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_selinux = false
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$(cni_plugins)"
  conf_dir = "$run/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$(snapshotter)"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "$run/containerd/runc"
END
}

cni_plugins() {
    local folder
    for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        [ ! -x "$folder/bridge" ] || { echo $folder; return; }
    done
}

# An overlay file system cannot be on top of another one.
snapshotter() {
    if [ "$(stat -f -c %T "$run")" = overlayfs ]; then echo native; else echo overlayfs; fi
}

# A bridge without an address on the host: pods reach each other, and nothing else.
network_config() {
    cat <<END
{"cniVersion": "0.4.0", "name": "$bridge", "plugins": [{"type": "bridge", "bridge": "$bridge",
 "isGateway": false, "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$run/cni-addresses",
 "ranges": [[{"subnet": "198.18.7.0/24"}]]}}]}
END
}
