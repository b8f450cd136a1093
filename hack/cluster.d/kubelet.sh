# shellcheck shell=bash
# kubelet, and the node that it makes from this machine. Sourced by hack/cluster.

start_node() {
    refuse_real_node
    alive kube-controller-manager || start_kube_controller_manager
    alive kube-scheduler || start_kube_scheduler
    alive containerd || start_containerd
    await_containerd
    import_images
    say "containerd is ready, with its images"
    prepare_machine
    alive kubelet || start_kubelet
    await 90 kubelet node_is_ready
    say "the node is ready"
    await 30 kube-controller-manager as_admin -n default get serviceaccount default
    await 30 kube-controller-manager node_takes_pods
    say "the node takes pods"
}

refuse_real_node() {
    ! ls -d /var/lib/kubelet/pods/* >/dev/null 2>&1 ||
        die "this machine is a node of another Kubernetes (/var/lib/kubelet/pods), which a second kubelet would disturb"
}

node_is_ready() {
    [ "$(as_admin get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}

node_takes_pods() {
    local taints
    taints=$(as_admin get node "$node_name" -o 'jsonpath={.spec.taints}') && [ -z "$taints" ]
}

start_kubelet() {
    names
    # A kubelet that is started again keeps its configuration.
    [ -f "$run/kubelet.yaml" ] || kubelet_config >"$run/kubelet.yaml"
    launch kubelet kubelet --config="$run/kubelet.yaml" --kubeconfig="$run/pki/node.kubeconfig" \
        --root-dir="$run/kubelet" --cert-dir="$run/kubelet/pki" --hostname-override="$node_name" \
        --node-ip="$(node_address)" --v=2
}

await_kubelet() { await 60 kubelet listens "$kubelet_health_port"; }

kubelet_config() {
    local pki=$run/pki
    cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $kubelet_port
healthzBindAddress: 127.0.0.1
healthzPort: $kubelet_health_port
readOnlyPort: 0
tlsCertFile: $pki/serving.crt
tlsPrivateKeyFile: $pki/serving.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: true
cgroupRoot: /$cgroup
enforceNodeAllocatable: [pods]
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
protectKernelDefaults: false
makeIPTablesUtilChains: false
podLogsDir: $run/pod-logs
volumePluginDir: $run/kubelet/volume-plugins
resolvConf: ""
localStorageCapacityIsolation: true
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 50Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
syncFrequency: ${SECRETFS_SYNC_FREQUENCY:-1m}
registerNode: true
END
}
