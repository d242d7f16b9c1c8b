package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

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
		Open:  func(at receive.Place) (receive.Serve, func() error, error) { return openModule(at, version) },
	}
}

// openModule opens the directory of a module and serves it.
func openModule(at receive.Place, version string) (receive.Serve, func() error, error) {
	m := at.Module
	exclude, err := filter.New(m.Exclude...)
	if err != nil {
		return nil, nil, err
	}
	o := apply.Options{Owners: at.Owns, SetID: at.Owns, FakeSuper: m.FakeSuper, Moved: at.Moved, Log: at.Log}
	if m.FakeSuper && at.Owns {
		o.Keeper = &apply.Keeper{UID: m.User.UID, GID: m.User.GID}
	}
	if at.Proc != nil {
		o.OpenFiles = "self/fd"
	}
	name := m.Path
	if at.Jailed {
		name = "/"
	}
	tree, err := apply.Open(name, o)
	if err != nil {
		return nil, nil, err
	}
	if at.Proc != nil {
		// From here on the only name that is needed is that of an open file.
		if err := unix.Fchdir(int(at.Proc.Fd())); err != nil {
			return nil, nil, fmt.Errorf("enter /proc: %w", err)
		}
	}
	d := session.Open(tree, session.Options{
		RefuseRemovals: m.RefuseRemovals, WriteOnly: m.WriteOnly, Exclude: exclude, Munge: m.MungeSymlinks, Chmod: m.Chmod, Timeout: m.Timeout, Program: version, Log: at.Log,
	})
	return func(ctx context.Context, conn net.Conn, s receive.Session) error {
		return d.Serve(ctx, conn, session.Sender{User: s.User, ReadOnly: s.ReadOnly})
	}, d.Close, nil
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
	d := session.Open(tree, session.Options{Program: version})
	return errors.Join(d.Serve(ctx, conn, session.Sender{}), d.Close())
}
