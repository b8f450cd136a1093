module secretfs.dev/tests/provider

go 1.25.0

require (
	google.golang.org/grpc v1.72.2
	sigs.k8s.io/secrets-store-csi-driver v1.5.6
)

require (
	github.com/go-logr/logr v1.4.2 // indirect
	golang.org/x/net v0.47.0 // indirect
	golang.org/x/sys v0.39.0 // indirect
	golang.org/x/text v0.32.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250528174236-200df99c418a // indirect
	google.golang.org/protobuf v1.36.6 // indirect
	k8s.io/apimachinery v0.26.4 // indirect
	k8s.io/klog/v2 v2.100.1 // indirect
)
