package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/filter"
)

// afterPowerCut has a receiver that was started again after a loss of power recover, and judges what is there before anything is sent:
// each file is one that the source had, and what nobody changes is as ever. Nobody else may connect meanwhile.
func (t *torture) afterPowerCut(ctx context.Context, g *target) error {
	if err := t.visit(ctx, g); err != nil {
		return err
	}
	// It recovers beside its work.
	if err := durable(ctx, g); err != nil {
		return err
	}
	for file := range wholeFiles {
		bad, err := t.whole.check(g, file, false, map[string]uint64{})
		if err != nil {
			return err
		}
		if bad != "" {
			t.found("after a power cut at target 1 and before anything was sent there is " + bad)
		}
	}
	return t.quietThere(g)
}

// durable waits until a receiver that has nothing to do has brought all to its disk: nothing temporary is left then.
func durable(ctx context.Context, g *target) error {
	var left []string
	err := poll(ctx, patience, "temporary files to go", func() (done bool, err error) {
		left, err = temporaries(g.tree)
		return len(left) == 0, err
	})
	if err != nil {
		return fmt.Errorf("%w; left over: %q", err, left)
	}
	return nil
}

// visit connects to a receiver, past the relay, so that it opens its module.
func (t *torture) visit(ctx context.Context, g *target) error {
	host, port, err := net.SplitHostPort(g.server.address())
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	visitor, err := daemon.NewTransport(config.Target{
		Kind: config.Native, Host: host, Port: number, User: user, Path: module, PasswordFile: t.below("password"),
		Timeout: patience, ConnectTimeout: patience,
	}, daemon.TransportOptions{})
	if err != nil {
		return err
	}
	var refused error
	err = poll(ctx, patience, "a receiver to let somebody in", func() (bool, error) {
		_, refused = visitor.Check(ctx)
		return refused == nil, nil
	})
	if err != nil {
		err = errors.Join(err, refused)
	}
	return errors.Join(err, visitor.Close())
}

// quietThere finds what differs of that which nobody changes.
func (t *torture) quietThere(g *target) error {
	quiet := filepath.Join(t.source, "quiet")
	return filepath.WalkDir(quiet, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it is moved away and back
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		want, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, t.source+"/")
		switch got, err := os.ReadFile(filepath.Join(g.tree, rel)); {
		case err != nil:
			t.found(fmt.Sprintf("after a power cut at target 1 and before anything was sent: %v", err))
		case !bytes.Equal(got, want):
			t.found(fmt.Sprintf("after a power cut at target 1 and before anything was sent %q has %d bytes that it never had", rel, len(got)))
		}
		return nil
	})
}

// temporaries are the temporary names of our own below a directory.
func temporaries(dir string) (all []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return nil // it went meanwhile, or is a file by now
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), filter.TempPrefix):
			all = append(all, strings.TrimPrefix(path, dir+"/"))
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for temporary files: %w", err)
	}
	return all, nil
}

// endAll stops everything as a service manager does, and demands that nothing temporary is left and that each target of our own still
// equals the source.
func (t *torture) endAll() error {
	if err := t.subject.stop(); err != nil {
		return err
	}
	for i, g := range t.targets {
		if !g.ours() {
			continue
		}
		if r, ok := g.server.(*receiver); ok {
			if err := r.end(); err != nil {
				return err
			}
			said, err := r.crashed()
			if err != nil {
				return err
			}
			if said != "" {
				t.found(fmt.Sprintf("a process of the receiver of target %d crashed: %s", i+1, said))
			}
		}
		left, err := temporaries(g.tree)
		if err != nil {
			return err
		}
		for n, name := range left {
			if n < shownMax {
				t.found(fmt.Sprintf("target %d has %q, and everything came to its end in order", i+1, name))
			}
		}
	}
	return nil
}
