package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

// The retry policy of the upstream driver: pkg/secrets-store/provider_client.go.
const serviceConfig = `{
	"methodConfig": [{
		"name": [{"service": "v1alpha1.CSIDriverProvider"}],
		"waitForReady": true,
		"retryPolicy": {
			"MaxAttempts": 3,
			"InitialBackoff": "1s",
			"MaxBackoff": "10s",
			"BackoffMultiplier": 1.1,
			"RetryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

// The result of a call.
type answer struct {
	Code     string                    `json:"code"`
	Message  string                    `json:"message"`
	Version  *v1alpha1.VersionResponse `json:"version"`
	Response *v1alpha1.MountResponse   `json:"response"`
}

func call(socket string, input io.Reader) (*answer, error) {
	request := &v1alpha1.MountRequest{}
	if err := json.NewDecoder(input).Decode(request); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, target string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", target)
	}
	connection, err := grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial),
		grpc.WithAuthority("localhost"),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := v1alpha1.NewCSIDriverProviderClient(connection)
	version, err := client.Version(ctx, &v1alpha1.VersionRequest{Version: "v1alpha1"})
	if err != nil {
		return nil, err
	}
	response, err := client.Mount(ctx, request)
	said := status.Convert(err)
	return &answer{Code: said.Code().String(), Message: said.Message(), Version: version, Response: response}, nil
}
