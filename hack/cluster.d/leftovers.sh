# shellcheck shell=bash
# Ends a cluster in any state, and checks whether anything of it is left. Sourced by hack/cluster.

down() {
    local component elsewhere
    [ -d "$run" ] || { say "cluster $name is not there"; return 0; }
    # If the watcher of the owner runs this script, it is this very process and must not be stopped.
    ! alive owner || [ "$(pid_of owner)" = $$ ] || stop owner 0
    [ -f "$run/port" ] || { rm -rf --one-file-system "$run"; return 0; }
    names
    elsewhere=$(kept_elsewhere)
    stop_node
    for component in kube-scheduler kube-controller-manager kube-apiserver etcd; do
        stop $component 0
    done
    kill_strays
    kill_pods
    undo_node "$elsewhere"
    exclusively unregister_node
    complain_of_leftovers "$elsewhere"
    rm -rf --one-file-system "$run"
    rmdir -p "$(dirname "$run")" 2>/dev/null || true
    say "cluster $name is down"
}

# Pods first, through the runtime, which removes what it made for them.
stop_node() {
    stop kubelet 10
    if alive containerd; then
        timeout 70 remove-pods "unix://$run/containerd/containerd.sock" || say "containerd did not remove its pods"
    fi
    stop containerd 10
}

# Kills shims that outlived containerd, and processes of which no record is left.
kill_strays() {
    local process
    for process in /proc/[0-9]*; do
        case $({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null) in
            *containerd-shim*"-address $run/containerd/"* | etcd*"$run/"* | kube-*"$run/"* | kubelet*"$run/"* | \
                containerd*"$run/"*) kill -KILL "${process#/proc/}" 2>/dev/null || true ;;
        esac
    done
}

kill_pods() {
    local list pid
    while read -r list; do
        while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$list"
    done < <(cgroups | sed 's#$#/cgroup.procs#')
}

undo_node() {
    local file
    unmount
    for file in $1; do
        umount "$file" 2>/dev/null || true
        rm -f "$file" || true
    done
    ! ip link show "$bridge" >/dev/null 2>&1 || ip link del "$bridge" || true
    remove_cgroups
    find /var/log/containers -type l -lname "$run/*" -delete 2>/dev/null || true
}

# Repeated, because a mount may be on top of another.
unmount() {
    local point tries
    for ((tries = 0; tries < 3; tries++)); do
        mounts | sort -r | while read -r point; do
            umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || true
        done
    done
}

mounts() {
    awk -v below="$run/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo
}

# Network namespaces and sockets of shims. Their directories cannot be chosen; containerd records which belong to it.
kept_elsewhere() {
    grep -rhosE '/run/(netns/cni-[0-9a-f-]+|containerd/s/[0-9a-f]+)' \
        --include={config.json,address,bootstrap.json} "$run/containerd/state" | sort -u || true
}

# The cgroup of a killed process becomes empty a moment later.
remove_cgroups() {
    local group tries
    for ((tries = 0; tries < 20; tries++)); do
        cgroups | sort -r | while read -r group; do rmdir "$group" 2>/dev/null || true; done
        [ -n "$(cgroups)" ] || return 0
        sleep 0.1
    done
}

cgroups() {
    local hierarchy
    for hierarchy in $(hierarchies); do
        find "$hierarchy/$cgroup" -type d 2>/dev/null || true
    done
}

complain_of_leftovers() {
    local left
    left=$(leftovers "$1")
    [ -z "$left" ] && return 0
    say "of cluster $name is left:"
    # shellcheck disable=SC2001
    sed 's/^/  /' <<<"$left" >&2
    die "see what holds it, and try again: hack/cluster down --name $name"
}

leftovers() {
    local file
    mounts | sed 's/^/mount /'
    cgroups | sed 's/^/cgroup /'
    ! ip link show "$bridge" >/dev/null 2>&1 || echo "network bridge $bridge"
    for file in $1; do
        [ ! -e "$file" ] || echo "file $file"
    done
    for file in "$run"/pid/*; do
        [ "$file" = "$run/pid/owner" ] || ! alive "${file##*/}" || echo "process $(pid_of "${file##*/}"), ${file##*/}"
    done
}
