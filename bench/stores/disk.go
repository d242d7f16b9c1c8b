package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// mountImage makes the file an image with a new file system where mkfs is one, and mounts it beside itself. The
// function takes the mount away.
func mountImage(ctx context.Context, image string, size int64, mkfs ...string) (dir string, unmount func() error, err error) {
	if len(mkfs) > 0 {
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			return "", nil, err
		}
		if err := os.Truncate(image, size); err != nil {
			return "", nil, err
		}
		if err := tool(ctx, mkfs[0], append(mkfs[1:], image)...); err != nil {
			return "", nil, err
		}
	}
	dir = image + ".mount"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	if err := tool(ctx, "mount", "-o", "loop", image, dir); err != nil {
		return "", nil, err
	}
	// It has to go even when the context ended.
	return dir, func() error { return tool(context.WithoutCancel(ctx), "umount", dir) }, nil
}

func tool(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}

// diskFull says what happens when the space of a small ext4 ends under a commit.
func diskFull(ctx context.Context, base string, c contestant, add func(row, cell string)) (err error) {
	at, unmount, err := mountImage(ctx, filepath.Join(base, "full.img"), 96<<20, "mkfs.ext4", "-q", "-F", "-m", "0")
	if err != nil {
		return err
	}
	defer func() {
		if e := unmount(); err == nil {
			err = e
		}
	}()
	dir := filepath.Join(at, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	r, how, words, err := try(ctx, limit, "full", c, dir, 5000)
	if err != nil {
		return err
	}
	if how == fine {
		add("disk full", r.Outcome)
		return nil
	}
	if err := os.Remove(filepath.Join(at, ballast)); err != nil && !os.IsNotExist(err) {
		return err
	}
	text := fmt.Sprintf("%s %q", how, short(words, dir))
	r, how, words, err = try(ctx, limit, "read", c, dir, 0)
	if how != fine {
		add("disk full", fmt.Sprintf("%s; opened anew with space again: %s %q", text, how, short(words, dir)))
		return err
	}
	add("disk full", fmt.Sprintf("%s; opened anew with space again: whole %t", text, r.Content.Whole))
	return err
}
