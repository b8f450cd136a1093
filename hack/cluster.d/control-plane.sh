# shellcheck shell=bash
# etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Sourced by hack/cluster.

readonly control_plane=(etcd kube-apiserver) node=(kube-controller-manager kube-scheduler containerd kubelet)
# The name resolves to 127.0.0.1, so connections from the API server to kubelet (logs, exec) stay on loopback.
readonly node_name=localhost

start_control_plane() {
    make_certificates
    say "certificates are there"
    alive etcd || start_etcd
    alive kube-apiserver || start_kube_apiserver
    await_kube_apiserver
    say "kube-apiserver is ready"
}

start_etcd() {
    names
    launch etcd etcd -data-dir "$run/etcd" \
        -listen-client "http://127.0.0.1:$etcd_port" -listen-peer "http://127.0.0.1:$etcd_peer_port"
}

await_etcd() { await 30 etcd listens "$etcd_port"; }

# Only without the endpoint reconciler does the API server accept a loopback address as the one that it advertises.
# A test may write encryption.yaml and start it again: then it encrypts as that says.
start_kube_apiserver() {
    local pki=$run/pki more=()
    names
    [ ! -f "$run/encryption.yaml" ] || more=(--encryption-provider-config="$run/encryption.yaml")
    launch kube-apiserver kube-apiserver \
        --etcd-servers="http://127.0.0.1:$etcd_port" \
        --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$api_port" \
        --endpoint-reconciler-type=none --service-cluster-ip-range=10.0.0.0/24 \
        --tls-cert-file="$pki/serving.crt" --tls-private-key-file="$pki/serving.key" --client-ca-file="$pki/ca.crt" \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$pki/service-accounts.pub" \
        --service-account-signing-key-file="$pki/service-accounts.key" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --kubelet-client-certificate="$pki/apiserver-kubelet.crt" \
        --kubelet-client-key="$pki/apiserver-kubelet.key" \
        --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=Hostname \
        --allow-privileged=true --profiling=false "${more[@]}"
}

await_kube_apiserver() { await 90 kube-apiserver as_admin get --raw /readyz; }

as_admin() { kubectl --kubeconfig "$run/pki/admin.kubeconfig" "$@"; }

# The monitor period is how often it checks whether a node is ready, and removes the taint that keeps pods off.
start_kube_controller_manager() {
    local pki=$run/pki
    names
    launch kube-controller-manager kube-controller-manager --kubeconfig="$pki/controllers.kubeconfig" \
        --bind-address=127.0.0.1 --secure-port="$controllers_port" --leader-elect=false \
        --use-service-account-credentials=true --root-ca-file="$pki/ca.crt" \
        --service-account-private-key-file="$pki/service-accounts.key" \
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --profiling=false \
        --node-monitor-period=500ms
}

await_kube_controller_manager() { await 30 kube-controller-manager listens "$controllers_port"; }

start_kube_scheduler() {
    local config=$run/pki/scheduler.kubeconfig
    names
    launch kube-scheduler kube-scheduler --kubeconfig="$config" --authentication-kubeconfig="$config" \
        --authorization-kubeconfig="$config" --bind-address=127.0.0.1 --secure-port="$scheduler_port" \
        --leader-elect=false --profiling=false
}

await_kube_scheduler() { await 30 kube-scheduler listens "$scheduler_port"; }
