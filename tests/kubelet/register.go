package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Kubelet's deadlines for a registration.
const (
	dialTimeout    = 10 * time.Second
	getInfoTimeout = time.Second
	notifyTimeout  = 5 * time.Second
)

// How long to wait for a socket. Kubelet waits without a limit.
const socketTimeout = 60 * time.Second

type pluginInfo struct {
	Type     string   `json:"type"`
	Name     string   `json:"name"`
	Endpoint string   `json:"endpoint"`
	Versions []string `json:"versions"`
	NodeID   string   `json:"node_id"`
}

// Registers the plugin whose socket appears in the directory, as kubelet's plugin manager does.
func (c command) register() (answer, error) {
	socket, which, err := awaitSocket(c.Directory, c.Seen)
	if err != nil {
		return answer{}, err
	}
	done := answer{Code: "OK", Socket: socket, Which: which}
	connection, err := dial(socket)
	if err != nil {
		return answer{}, err
	}
	defer connection.Close()
	client := registration.NewRegistrationClient(connection)
	if done.Plugin, err = getInfo(client); err != nil {
		return answer{}, fmt.Errorf("GetInfo: %w", err)
	}
	if c.Silent {
		return done, nil
	}
	failure := c.Refuse
	if failure == "" {
		if done.Plugin.NodeID, err = nodeGetInfo(done.Plugin.Endpoint); err != nil {
			failure = err.Error()
		}
	}
	done.Message = failure
	return done, notify(client, failure)
}

// The first socket in the directory that kubelet's watcher would not ignore, other than the seen one.
func awaitSocket(directory string, seen string) (socket, which string, err error) {
	for deadline := time.Now().Add(socketTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(directory)
		if err != nil {
			return "", "", err
		}
		for _, entry := range entries {
			found, err := entry.Info()
			if err != nil || strings.HasPrefix(entry.Name(), ".") || found.Mode()&os.ModeSocket == 0 {
				continue
			}
			// Inode numbers are reused, so the time is part of it.
			which := fmt.Sprint(found.Sys().(*syscall.Stat_t).Ino, found.ModTime().UnixNano())
			if which != seen {
				return filepath.Join(directory, entry.Name()), which, nil
			}
		}
	}
	return "", "", fmt.Errorf("no new socket in %s within %s", directory, socketTimeout)
}

// The options of dial in kubernetes/pkg/kubelet/pluginmanager/operationexecutor/operation_generator.go. They name no
// authority, so the path of the socket becomes the authority.
func dial(socket string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return grpc.DialContext(ctx, socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithBlock(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", addr)
		}),
	)
}

func getInfo(client registration.RegistrationClient) (*pluginInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), getInfoTimeout)
	defer cancel()
	info, err := client.GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		return nil, err
	}
	return &pluginInfo{
		Type: info.Type, Name: info.Name, Endpoint: info.Endpoint, Versions: info.SupportedVersions,
	}, nil
}

func nodeGetInfo(endpoint string) (string, error) {
	connection, err := newGrpcConn(endpoint, "localhost")
	if err != nil {
		return "", err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), csiTimeout)
	defer cancel()
	info, err := csi.NewNodeClient(connection).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	return info.GetNodeId(), err
}

func notify(client registration.RegistrationClient, failure string) error {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	status := &registration.RegistrationStatus{PluginRegistered: failure == "", Error: failure}
	_, err := client.NotifyRegistrationStatus(ctx, status)
	return err
}
