# shellcheck shell=bash
# Settings of this machine that a node needs, and how they are restored. Sourced by hack/cluster.

# kubelet changes these for the whole machine.
readonly settings=(vm/overcommit_memory kernel/panic kernel/panic_on_oops)
# For a machine that has only loopback: kubelet refuses addresses in 127.0.0.0/8.
readonly spare_address=198.18.0.1

prepare_machine() {
    share_kubelet_root
    make_cgroups
    exclusively register_node
}

# A driver in a pod mounts here, and the host has to see its mounts (Bidirectional).
share_kubelet_root() {
    mkdir -p "$run/kubelet" "$run/pod-logs"
    mountpoint -q "$run/kubelet" && return 0
    mount --bind "$run/kubelet" "$run/kubelet"
    mount --make-private "$run/kubelet"
    mount --make-shared "$run/kubelet"
}

# A new cpuset of cgroups version 1 is empty and accepts no process.
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

# The hierarchy of cgroups version 2, or those of version 1.
hierarchies() {
    local folder
    for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -f "$folder/cgroup.procs" ] || continue
        echo "$folder"
        [ "$folder" != /sys/fs/cgroup ] || return 0
    done
}

# `exclusively COMMAND…`: runs COMMAND while no other cluster uses what all of them share. The lock is on a directory
# that always exists, so that the directory of claims may be removed.
exclusively() {
    local lock
    exec {lock}</run
    flock "$lock"
    mkdir -p "$claims"
    "$@"
    rmdir "$claims" 2>/dev/null || true
    exec {lock}<&-
}

# The first node records the settings of the machine.
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

# The address is only registered. Nothing is sent to it.
node_address() {
    ip -4 -o address show scope global | awk '{ sub(/\/.*/, "", $4); print $4; exit }'
}

# The last node restores the settings that the first one found.
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
    # The files that kubelet makes outside of its root directory. All other files belong to somebody else.
    rm -f /var/lib/kubelet/device-plugins/{kubelet.sock,DEPRECATION,kubelet_internal_checkpoint}
    rmdir /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
}
