# shellcheck shell=bash
# What a node needs of this machine, and how that is undone. Sourced by hack/cluster.

# kubelet sets these for the whole machine.
readonly settings=(vm/overcommit_memory kernel/panic kernel/panic_on_oops)
# For a machine that has nothing but loopback: kubelet refuses an address of 127.0.0.0/8.
readonly spare_address=198.18.0.1

prepare_machine() {
    share_kubelet_root
    make_cgroups
    exclusively register_node
}

# A driver that runs as a pod mounts there for the host to see (Bidirectional).
share_kubelet_root() {
    mkdir -p "$run/kubelet" "$run/pod-logs"
    mountpoint -q "$run/kubelet" && return 0
    mount --bind "$run/kubelet" "$run/kubelet"
    mount --make-private "$run/kubelet"
    mount --make-shared "$run/kubelet"
}

# A new cpuset of version 1 is empty and takes no process.
make_cgroups() {
    local hierarchy file
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy/$cgroup"
        for file in cpuset.cpus cpuset.mems; do
            [ -f "$hierarchy/$cgroup/$file" ] && [ -f "$hierarchy/$file" ] || continue
            [ -n "$(cat "$hierarchy/$cgroup/$file")" ] || cat "$hierarchy/$file" >"$hierarchy/$cgroup/$file"
        done
    done
}

# The one of cgroups version 2, or those of version 1.
hierarchies() {
    local folder
    for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -f "$folder/cgroup.procs" ] || continue
        echo "$folder"
        [ "$folder" != /sys/fs/cgroup ] || return 0
    done
}

# `exclusively COMMAND…`: while no other cluster looks at what all of them share. The lock is on a folder
# that stays, so that the one of the claims need not.
exclusively() {
    local lock
    exec {lock}</run
    flock "$lock"
    mkdir -p "$claims"
    "$@"
    rmdir "$claims" 2>/dev/null || true
    exec {lock}<&-
}

# The first node notes how it found the machine.
register_node() {
    local setting
    if ! ls "$claims"/*/node >/dev/null 2>&1; then
        for setting in "${settings[@]}"; do
            echo "$(cat "/proc/sys/$setting") $setting"
        done >"$claims/settings"
    fi
    touch "$claim/node"
    [ -n "$(node_address)" ] || ip address add $spare_address/32 dev lo
    [ "$(node_address)" != $spare_address ] || touch "$claim/spare-address"
}

# It is registered, and nothing is sent there.
node_address() {
    ip -4 -o address show scope global | awk '{ sub(/\/.*/, "", $4); print $4; exit }'
}

# The last node leaves the machine as the first one found it.
unregister_node() {
    local value setting spare=''
    [ ! -f "$claim/spare-address" ] || spare=yes
    rm -rf "$claim"
    if [ -n "$spare" ] && ! ls "$claims"/*/spare-address >/dev/null 2>&1; then
        ip address del $spare_address/32 dev lo || true
    fi
    ls "$claims"/*/node >/dev/null 2>&1 && return 0
    [ -f "$claims/settings" ] || return 0
    while read -r value setting; do
        echo "$value" >"/proc/sys/$setting"
    done <"$claims/settings"
    rm -f "$claims/settings"
    # What kubelet makes outside its root; whatever else is there is somebody else's.
    rm -f /var/lib/kubelet/device-plugins/{kubelet.sock,DEPRECATION,kubelet_internal_checkpoint}
    rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}
