package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/secrets-store-csi-driver/provider/v1alpha1"
)

// What the provider does. It reads this again at each call.
type control struct {
	// Files by path.
	Files map[string]file `json:"files"`
	// Object versions by id. If there are none, each file gets one.
	Versions map[string]string `json:"versions"`
	// How the files are returned: "" in the answer, "plain" or "atomic" in the target directory, "nowhere" not at all.
	Write string `json:"write"`
	// Symbolic links to make in the target, by path.
	Links map[string]string `json:"links"`
	// The step at which the process ends itself: see the calls of reached.
	Die string `json:"die"`
	// The step at which the call waits until its caller gives up.
	Hang string `json:"hang"`
	// The gRPC code to fail with, and the message.
	Code    uint32 `json:"code"`
	Message string `json:"message"`
	// The error code to put into the answer.
	Error string `json:"error"`
	// Answer as a provider that gets versions: read the present files from the target directory.
	Reload bool `json:"reload"`
}

type file struct {
	Contents string `json:"contents"`
	// This many bytes, instead of contents.
	Size int   `json:"size"`
	Mode int32 `json:"mode"`
}

func (f file) bytes() []byte {
	if f.Size > 0 {
		return []byte(strings.Repeat("x", f.Size))
	}
	return []byte(f.Contents)
}

type server struct {
	v1alpha1.UnimplementedCSIDriverProviderServer
	control, log string
	logging      sync.Mutex
}

func serve(socket, control, log string) error {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	served := grpc.NewServer(grpc.UnaryInterceptor(onlyLocalhost))
	v1alpha1.RegisterCSIDriverProviderServer(served, &server{control: control, log: log})
	return served.Serve(listener)
}

// Refuses every other authority, as upstream's own test provider does.
func onlyLocalhost(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	told, _ := metadata.FromIncomingContext(ctx)
	authority := told.Get(":authority")
	if len(authority) != 1 || authority[0] != "localhost" {
		return nil, status.Errorf(codes.PermissionDenied, "authority %q is not localhost", authority)
	}
	return next(ctx, request)
}

func (s *server) Version(context.Context, *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	return &v1alpha1.VersionResponse{Version: "v1alpha1", RuntimeName: "test", RuntimeVersion: "1.0.0"}, nil
}

func (s *server) Mount(ctx context.Context, request *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	if err := s.note(request); err != nil {
		return nil, err
	}
	does, err := s.read()
	if err != nil {
		return nil, err
	}
	if err := does.reached(ctx, "called"); err != nil {
		return nil, err
	}
	if does.Code != 0 {
		return nil, status.Error(codes.Code(does.Code), does.Message)
	}
	answer := &v1alpha1.MountResponse{ObjectVersion: does.versions(), Error: &v1alpha1.Error{Code: does.Error}}
	if does.Write == "" {
		answer.Files, err = does.files(request)
	} else {
		err = does.write(ctx, request.GetTargetPath())
	}
	if err != nil {
		return nil, err
	}
	return answer, does.reached(ctx, "written")
}

func (s *server) note(request *v1alpha1.MountRequest) error {
	s.logging.Lock()
	defer s.logging.Unlock()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	return json.NewEncoder(log).Encode(request)
}

func (s *server) read() (*control, error) {
	text, err := os.ReadFile(s.control)
	if err != nil {
		return nil, err
	}
	does := &control{}
	return does, json.Unmarshal(text, does)
}

// Ends the process, or waits, if the control file names this step.
func (c *control) reached(ctx context.Context, step string) error {
	if c.Die == step {
		os.Exit(9)
	}
	if c.Hang == step {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (c *control) versions() []*v1alpha1.ObjectVersion {
	var all []*v1alpha1.ObjectVersion
	for id, version := range c.Versions {
		all = append(all, &v1alpha1.ObjectVersion{Id: id, Version: version})
	}
	if c.Versions == nil {
		for path := range c.Files {
			all = append(all, &v1alpha1.ObjectVersion{Id: path, Version: "1"})
		}
	}
	return all
}

func (c *control) files(request *v1alpha1.MountRequest) ([]*v1alpha1.File, error) {
	var all []*v1alpha1.File
	for path, file := range c.Files {
		contents := file.bytes()
		if c.Reload && len(request.GetCurrentObjectVersion()) > 0 {
			kept, err := os.ReadFile(request.GetTargetPath() + "/" + path)
			if err != nil {
				return nil, fmt.Errorf("reload: %w", err)
			}
			contents = kept
		}
		all = append(all, &v1alpha1.File{Path: path, Mode: file.Mode, Contents: contents})
	}
	return all, nil
}
