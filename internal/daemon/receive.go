package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/filter"
	"sersync/internal/receive"
	"sersync/internal/receive/session"
)

// ReceivePlugs are what the processes of a receiver do: the login, and the sessions of a module. version is that of this program.
func ReceivePlugs(version string) receive.Plugs {
	return receive.Plugs{
		Login: receive.ChannelLogin,
		Open: func(ctx context.Context, at receive.Place) (receive.Serve, error) {
			return openModule(ctx, at, version)
		},
	}
}

// openModule opens the directory of a module, which is the working directory, and serves it until ctx ends.
func openModule(ctx context.Context, at receive.Place, version string) (receive.Serve, error) {
	m := at.Module
	exclude, err := filter.New(m.Exclude...)
	if err != nil {
		return nil, err
	}
	o := apply.Options{Owners: at.Owns, SetID: at.Owns, Log: at.Log}
	if at.Proc != nil {
		o.OpenFiles = "self/fd"
	}
	root := "."
	if at.Jailed {
		root = "/" // the working directory becomes another one
	}
	tree, err := apply.Open(root, o)
	if err != nil {
		return nil, err
	}
	if at.Proc != nil {
		// From here on the only name that is needed is that of an open file.
		if err := unix.Fchdir(int(at.Proc.Fd())); err != nil {
			return nil, fmt.Errorf("enter /proc: %w", err)
		}
	}
	server := session.New(tree, session.Options{
		RefuseRemovals: m.RefuseRemovals, Exclude: exclude, Munge: m.MungeSymlinks, Timeout: m.Timeout, Program: version, Log: at.Log,
	})
	go server.Run(ctx)
	go func() {
		if err := tree.Recover(ctx); err != nil && ctx.Err() == nil {
			at.Log.Warn("what an end without warning left is not removed", "module", m.Name, "error", err)
		}
	}()
	return func(ctx context.Context, conn net.Conn, s receive.Session) error {
		return server.Serve(ctx, conn, s.ReadOnly)
	}, nil
}

// ServeStdio serves one sender, which ssh connected to standard input and output, with a directory and the rights of this process.
func ServeStdio(ctx context.Context, dir, version string) error {
	conn, err := session.Stdio()
	if err != nil {
		return err
	}
	root := os.Geteuid() == 0
	tree, err := apply.Open(dir, apply.Options{Owners: root, Devices: root, SetID: true})
	if err != nil {
		return err
	}
	server := session.New(tree, session.Options{Program: version, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { server.Run(ctx) })
	running.Go(func() { _ = tree.Recover(ctx) }) // another one will try it again
	err = server.Serve(ctx, conn, "")
	cancel()
	running.Wait()
	return errors.Join(err, tree.Close())
}
