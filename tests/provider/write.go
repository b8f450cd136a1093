package main

import (
	"context"
	"os"
	"path/filepath"
	"sort"

	"sigs.k8s.io/secrets-store-csi-driver/pkg/util/fileutil"
)

// Writes the files into the target directory, as providers do that answer without files.
func (c *control) write(ctx context.Context, target string) error {
	if err := c.link(target); err != nil {
		return err
	}
	switch c.Write {
	case "atomic":
		return c.writeAtomic(ctx, target)
	case "plain":
		return c.writePlain(ctx, target)
	default:
		return nil
	}
}

func (c *control) link(target string) error {
	for path, to := range c.Links {
		if err := os.Symlink(to, filepath.Join(target, path)); err != nil {
			return err
		}
	}
	return nil
}

func (c *control) writeAtomic(ctx context.Context, target string) error {
	payload := map[string]fileutil.FileProjection{}
	for path, file := range c.Files {
		payload[path] = fileutil.FileProjection{Data: file.bytes(), Mode: file.Mode}
	}
	writer, err := fileutil.NewAtomicWriter(target, "test")
	if err != nil {
		return err
	}
	if err := writer.Write(payload); err != nil {
		return err
	}
	return c.reached(ctx, "linked")
}

func (c *control) writePlain(ctx context.Context, target string) error {
	var paths []string
	for path := range c.Files {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		if err := c.writeFile(ctx, filepath.Join(target, path), c.Files[path]); err != nil {
			return err
		}
	}
	return nil
}

func (c *control) writeFile(ctx context.Context, path string, file file) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	written, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer written.Close()
	if err := c.reached(ctx, "created"); err != nil {
		return err
	}
	contents := file.bytes()
	if _, err := written.Write(contents[:len(contents)/2]); err != nil {
		return err
	}
	if err := c.reached(ctx, "half"); err != nil {
		return err
	}
	if _, err := written.Write(contents[len(contents)/2:]); err != nil {
		return err
	}
	if err := written.Chmod(os.FileMode(file.Mode)); err != nil {
		return err
	}
	return c.reached(ctx, "one")
}
