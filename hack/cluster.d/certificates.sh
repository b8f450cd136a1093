# shellcheck shell=bash
# The certificates, keys and kubeconfigs of a cluster, for thirty days. Sourced by hack/cluster.

make_certificates() {
    [ -f "$run/pki/complete" ] && return 0
    mkdir -p "$run/pki"
    (
        cd "$run/pki"
        umask 077
        authority
        certificate serving "/CN=$node_name" serverAuth \
            'DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.0.0.1'
        certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet-client clientAuth
        client admin /O=system:masters/CN=admin
        client controllers /CN=system:kube-controller-manager
        client scheduler /CN=system:kube-scheduler
        client node "/O=system:nodes/CN=system:node:$node_name"
        openssl genrsa -out service-accounts.key 2048 2>/dev/null
        openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
        touch complete
    )
}

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

authority() {
    key ca
    openssl req -x509 -new -key ca.key -sha256 -days 30 -subj /CN=secretfs-test-cluster -out ca.crt \
        -addext basicConstraints=critical,CA:true \
        -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
}

# `certificate NAME SUBJECT USAGE [ALTERNATIVE-NAMES]`
certificate() {
    key "$1"
    {
        printf '%s\n' basicConstraints=critical,CA:false keyUsage=critical,digitalSignature,keyEncipherment
        echo "extendedKeyUsage=$3"
        [ -z "${4:-}" ] || echo "subjectAltName=$4"
    } >"$1.ext"
    openssl req -new -key "$1.key" -subj "$2" |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -sha256 -extfile "$1.ext" -out "$1.crt" \
            2>/dev/null
    rm "$1.ext"
}

# `client NAME SUBJECT`: a certificate and the kubeconfig that uses it.
client() {
    certificate "$1" "$2" clientAuth
    cat >"$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: $1}}]
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api_port", certificate-authority: "$PWD/ca.crt"}}]
users: [{name: $1, user: {client-certificate: "$PWD/$1.crt", client-key: "$PWD/$1.key"}}]
END
}
