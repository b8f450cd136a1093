# shellcheck shell=bash
# The quickstart in a Kubernetes of one node: image, chart, pod. Sourced by hack/quickstart.
# shellcheck disable=SC2154  # bin, changed

readonly system=secretfs-system
keep=${KEEP:-}

# Values for a cluster of hack/cluster. It has no kube-proxy, so no pod reaches the API server at the address of its
# service. So the driver uses the node's network, and the values name the API server.
values() {
    local server=$1 port=$2
    cat <<END
linux:
  image: {repository: localhost/secretfs, tag: quickstart, pullPolicy: Never}
  kubeletRootDir: $KUBELET_ROOT
  stateDir: $SECRETFS_CLUSTER/state
  providersDir: $SECRETFS_CLUSTER/providers
  additionalProvidersDirs: []
  hostNetwork: true
  metricsAddr: 127.0.0.1:$port
  env:
    - {name: KUBERNETES_SERVICE_HOST, value: "${server%:*}"}
    - {name: KUBERNETES_SERVICE_PORT, value: "${server##*:}"}
store: {hostPath: $SECRETFS_STORE}
END
}

# A port of this machine on which nobody listens.
free_port() {
    local port=8095
    while (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo $port
}

logs() {
    kubectl -n $system get pods -o wide
    kubectl get events -A --field-selector type=Warning
    kubectl -n $system logs --all-containers --prefix --tail 20 -l app.kubernetes.io/name=secretfs
}
fail() { logs >&2 || true; die "$*"; }

tidy() {
    [ -z "$keep" ] || return 0
    say 'Stopping the cluster'
    hack/cluster down --name quickstart
}

say 'Starting Kubernetes (the first time, building it takes some ten minutes more)'
exports=$(hack/tools helm) && eval "$exports"
trap tidy EXIT
# Removes a cluster that an earlier run with KEEP left.
hack/cluster down --name quickstart 2>/dev/null || true
owner=()
[ -n "$keep" ] || owner=(--until-exit $$)
exports=$(hack/cluster up --name quickstart "${owner[@]}") && eval "$exports"
show kubectl get node

say 'Making the image, and importing it into containerd'
hack/image --binary "$bin" --name localhost/secretfs:quickstart \
    --out "$SECRETFS_CLUSTER/image.tar" --import "$CONTAINERD_ADDRESS" 2>&1 | sed 's/^/  /'

export SECRETFS_STORE=$SECRETFS_CLUSTER/store
fill

say 'Installing the chart'
server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
values "${server#https://}" "$(free_port)" >"$SECRETFS_CLUSTER/values.yaml"
helm upgrade --install secretfs deploy/charts/secretfs --namespace $system --create-namespace \
    --values "$SECRETFS_CLUSTER/values.yaml" >"$SECRETFS_CLUSTER/notes"
sed 's/^/  /' "$SECRETFS_CLUSTER/values.yaml"
kubectl -n $system rollout status daemonset/secretfs-node --timeout 180s >/dev/null || fail 'the driver did not become ready'
show kubectl -n $system get pods

say 'Starting a pod that mounts examples/quickstart.yaml'
kubectl create namespace shop --dry-run=client -o yaml | kubectl apply -f - >/dev/null
until_true 60 kubectl -n shop get serviceaccount default >/dev/null 2>&1 || fail 'the namespace got no service account'
show kubectl apply -f examples/quickstart.yaml -f examples/quickstart-pod.yaml
started=$(date +%s%N)
kubectl -n shop wait --for condition=Ready pod/quickstart --timeout 180s >/dev/null || fail 'the pod did not become ready'
echo "  the pod was ready $(milliseconds_since "$started") ms later"
show kubectl -n shop exec quickstart -- id
show kubectl -n shop exec quickstart -- ls -lL /secrets
show kubectl -n shop exec quickstart -- cat /secrets/app.env

# Started before the change. Otherwise the start of kubectl would be measured.
timeout 20 kubectl -n shop exec quickstart -- sh -c 'echo looks; until grep -q second /secrets/app.env; do usleep 5000; done' >"$SECRETFS_CLUSTER/watch" &
watch=$!
until_true 10 grep -q looks "$SECRETFS_CLUSTER/watch" || fail 'the pod did not look at its file'
change
wait $watch || fail 'the file did not change within ten seconds'
echo "  the pod saw its file change by itself $(milliseconds_since "$changed") ms later"
show kubectl -n shop exec quickstart -- cat /secrets/app.env
show kubectl -n $system exec daemonset/secretfs-node -- secretfs status

if [ -n "$keep" ]; then
    say 'Done; the cluster is still up'
    cat <<END
    export KUBECONFIG=$KUBECONFIG PATH=$SECRETFS_TOOLS:\$PATH
    kubectl -n shop exec -it quickstart -- sh
    printf 'third password' | SECRETFS_STORE=$SECRETFS_STORE $bin store put --namespace shop db/password
    hack/cluster down --name quickstart
END
    exit
fi

say 'Deleting the pod'
kubectl -n shop delete pod quickstart >/dev/null
nothing_is_mounted() { ! findmnt -rno TARGET -t tmpfs | grep -q "^$KUBELET_ROOT/pods/.*kubernetes.io~csi"; }
until_true 20 nothing_is_mounted || fail 'something is still mounted for it'
echo '  nothing of it is mounted any more'
tidy
trap - EXIT

say 'Done'
cat <<'END'
  A Kubernetes of one node was started, secretfs was installed into it from its image by its chart, a pod read a
  value of an encrypted store as a file in memory, a changed value reached it without a restart, and all of it is
  gone again. KEEP=1 hack/quickstart --cluster leaves it up, for a look around.
END
