package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	_ "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Kubelet's deadline for every CSI call.
const csiTimeout = 2 * time.Minute

// Calls any CSI method over a new connection, as kubelet does for each call.
func (c command) call() (answer, error) {
	request, response, err := messages(c.Method)
	if err != nil {
		return answer{}, err
	}
	if len(c.Request) > 0 {
		if err := protojson.Unmarshal(c.Request, request); err != nil {
			return answer{}, err
		}
	}
	connection, err := newGrpcConn(c.Socket, c.authority())
	if err != nil {
		return answer{}, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout())
	defer cancel()
	return told(connection.Invoke(ctx, c.Method, request, response), response)
}

// The options of newGrpcConn in kubernetes/pkg/volume/csi/csi_client.go.
func newGrpcConn(socket string, authority string) (*grpc.ClientConn, error) {
	return grpc.Dial(
		socket,
		grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", target)
		}),
	)
}

func (c command) authority() string {
	if c.Authority != "" {
		return c.Authority
	}
	return "localhost"
}

func (c command) timeout() time.Duration {
	if c.TimeoutMs > 0 {
		return time.Duration(c.TimeoutMs) * time.Millisecond
	}
	return csiTimeout
}

// Empty messages of a method: its request and its response.
func messages(method string) (request, response proto.Message, err error) {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, nil, err
	}
	descriptor, ok := found.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("%s is no method", method)
	}
	if request, err = empty(descriptor.Input()); err != nil {
		return nil, nil, err
	}
	response, err = empty(descriptor.Output())
	return request, response, err
}

func empty(descriptor protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

// The answer to a call.
func told(err error, response proto.Message) (answer, error) {
	if err != nil {
		said := status.Convert(err)
		return answer{
			Code:    name(said.Code()),
			Message: said.Message(),
			Details: len(said.Proto().GetDetails()),
			Final:   isFinal(said.Code()),
		}, nil
	}
	json, err := protojson.Marshal(response)
	return answer{Code: "OK", Response: json}, err
}

// Copied from isFinalError in kubernetes/pkg/volume/csi/csi_client.go.
func isFinal(code codes.Code) bool {
	switch code {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	}
	return true
}

// The code in upper case: INVALID_ARGUMENT.
func name(code codes.Code) string {
	var name strings.Builder
	for i, letter := range code.String() {
		if i > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}
