package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const patience = 60 * time.Second

// removePods stops and removes every pod of a container runtime, so that the runtime itself undoes
// their network namespaces, links, shims and mounts.
func removePods(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: remove-pods unix:///…/containerd.sock")
	}
	connection, err := grpc.NewClient(args[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	runtime := cri.NewRuntimeServiceClient(connection)
	pods, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var failed []error
	for _, pod := range pods.Items {
		if err := removePod(ctx, runtime, pod.Id); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", pod.Metadata.GetName(), err))
		}
	}
	return errors.Join(failed...)
}

func removePod(ctx context.Context, runtime cri.RuntimeServiceClient, id string) error {
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}
