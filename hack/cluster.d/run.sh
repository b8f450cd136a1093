# shellcheck shell=bash
# The directory of a cluster, and the names and ports that belong to it. Sourced by hack/cluster.

readonly clusters=${SECRETFS_CLUSTERS:-$repository/.cache/cluster}
# For the whole machine: a directory for each cluster, named after the first of its ports.
readonly claims=/run/secretfs-clusters
# Ten ports for each cluster. The range is separate from the ports of tests and of outgoing connections.
readonly first_port=10000 last_port=11990 ports_each=10
# The path of a Unix socket has at most 107 bytes. The longest below the directory takes 68:
# /kubelet/plugins_registry/secrets-store.csi.k8s.io-00000000-reg.sock.
readonly longest_directory=39

# The place of clusters whose directory would be too long.
short_clusters() { echo "/run/k8s-$(printf %s "$clusters" | sha256sum | cut -c1-8)"; }

# The directory of a cluster: below $SECRETFS_CLUSTERS, or below /run if the paths of sockets would be too long or would
# need quotes.
directory_of() {
    local directory=$clusters/$1
    if [ ${#directory} -gt $longest_directory ] || [[ ! $directory =~ ^/[A-Za-z0-9/._-]+$ ]]; then
        directory=$(short_clusters)/$1
    fi
    echo "$directory"
}

# The directories of all existing clusters of this checkout, or below $SECRETFS_CLUSTERS.
directories() {
    local directory
    for directory in "$clusters"/*/ "$(short_clusters)"/*/; do
        [ ! -d "$directory" ] || echo "${directory%/}"
    done
}

# Installs missing tools.
install_tools() {
    local exports
    exports=$("$repository/hack/tools" kubernetes containerd)
    eval "$exports"
    find_tools
}

find_tools() {
    tools=${SECRETFS_TOOLS:-$repository/.cache/tools}
    PATH=$tools:$PATH
}

# Claims ports and names for this cluster, or finds those that it already has.
claim() {
    local port
    mkdir -p "$run"
    if [ ! -f "$run/port" ]; then
        drop_stale_claims
        port=$(claimed_port)
        echo "$port" >"$run/port"
    fi
    names
}

names() {
    local port
    port=$(cat "$run/port")
    api_port=$port etcd_port=$((port + 1)) etcd_peer_port=$((port + 2)) controllers_port=$((port + 3))
    scheduler_port=$((port + 4)) kubelet_port=$((port + 5)) kubelet_health_port=$((port + 6))
    # Names of things that are in no directory: the network bridge, the cgroups.
    bridge=secretfs$port cgroup=secretfs$port
    claim=$claims/$port
}

claimed_port() {
    local port tries
    for ((tries = 0; tries < 200; tries++)); do
        port=$((first_port + RANDOM % ((last_port - first_port) / ports_each) * ports_each))
        [ ! -e "$claims/$port" ] && free "$port" || continue
        mkdir "$claims/$port"
        echo "$run" >"$claims/$port/run"
        echo "$port"
        return 0
    done
    die "no ten ports in a row are free between $first_port and $last_port; ss -Htln tells who has them"
}

# Whether nobody listens on this port or on the other ports of its range.
free() {
    ! ss -Htln | awk -v first="$1" -v each=$ports_each '
        { port = $4; sub(/^.*:/, "", port); if (port + 0 >= first && port + 0 < first + each) taken = 1 }
        END { exit !taken }'
}

# Removes claims of clusters whose directory somebody deleted.
drop_stale_claims() {
    local each
    for each in "$claims"/*/run; do
        [ -f "$each" ] || continue
        [ "$(cat "$(cat "$each")/port" 2>/dev/null)" = "$(basename "$(dirname "$each")")" ] || rm -rf "$(dirname "$each")"
    done
}

# Ends the cluster when its owner process has ended.
watch_owner() {
    [ -n "$owner" ] || return 0
    # shellcheck disable=SC2016
    launch owner bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down --name "$3"' - \
        "$owner" "$repository/hack/cluster" "$name"
}
