package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/channel"
	"sersync/internal/config"
	"sersync/internal/transport"
	"sersync/internal/transport/local"
	"sersync/internal/transport/native"
	"sersync/internal/transport/rsync"
)

// TransportOptions are what the transport of a target needs beside the target.
type TransportOptions struct {
	// Sender names who replicates, the same after each start: a receiver lets one session of a name in at a time. Empty for somebody
	// who only looks, beside whom others go on.
	Sender string
	// Version is that of this program.
	Version string
	// Log may be nil.
	Log *slog.Logger
}

// NewTransport makes the transport of a target. It starts nothing.
func NewTransport(t config.Target, o TransportOptions) (transport.Transport, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	log := o.Log.With("target", t.URL())
	switch {
	case t.Rsync():
		return rsync.New(rsyncOptions(t, log))
	case t.Kind == config.Local:
		return local.New(local.Options{Dir: t.Path, Durable: t.Durable, Xattrs: t.Xattrs, Trash: t.Trash > 0, Program: o.Version, Log: log}), nil
	}
	n := native.Options{
		Dial:    func(ctx context.Context) (net.Conn, error) { return dial(ctx, t) },
		Target:  sender(o.Sender) + " " + t.URL(),
		Durable: t.Durable, Xattrs: t.Xattrs, Trash: t.Trash > 0, Timeout: min(t.Timeout, nativeTimeout), Bandwidth: t.Bandwidth, Program: o.Version, Log: log,
	}
	if t.Kind == config.NativeSSH {
		n.Dial = native.SSH{
			Host: t.Host, User: t.User, Dir: t.Path, Port: t.Port, Identity: t.SSHKey, Args: t.SSHOptions, ConnectTimeout: t.ConnectTimeout,
		}.Dial
		n.Settle = max(2*n.Timeout, time.Minute)
	}
	return native.New(n), nil
}

// nativeTimeout is how long nothing may come from a receiver: it says something every few seconds.
const nativeTimeout = 15 * time.Second

// sender tells the machines and programs apart that send to a receiver.
func sender(name string) string {
	if name == "" {
		return rand.Text()
	}
	host, _ := os.Hostname() // nobody is nobody
	id, _ := os.ReadFile("/etc/machine-id")
	return strings.TrimSpace(string(id)) + " " + host + " " + name
}

// dial connects to a receiver and logs in.
func dial(ctx context.Context, t config.Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.ConnectTimeout)
	defer cancel()
	login := channel.Login{Module: t.Path, User: t.User, ServerName: t.Host}
	var err error
	if login.CA, login.Certificate, err = t.Certificates(); err != nil {
		return nil, &transport.Error{Kind: transport.Misconfigured, Err: err, Hint: "sersync check says what is wrong with it"}
	}
	if t.PasswordFile != "" {
		if login.Secret, err = readPassword(t.PasswordFile); err != nil {
			return nil, &transport.Error{
				Kind: transport.Misconfigured, Err: fmt.Errorf("read password file: %w", err),
				Hint: "write the password alone into the file, for its owner alone to read",
			}
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return nil, &transport.Error{
			Kind: transport.Away, Err: fmt.Errorf("connect to receiver: %w", err),
			Hint: "is \"sersync receive\" running there, and may this machine reach its port?",
		}
	}
	secured, err := channel.Client(ctx, conn, login)
	if err != nil {
		return nil, loginError(err)
	}
	return secured, nil
}

// readPassword is the first line of a password file, as rsync takes it.
func readPassword(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("file %q is no regular file", name)
	case info.Mode()&0o006 != 0:
		return nil, fmt.Errorf("file %q can be read or written by everybody", name)
	}
	line, err := bufio.NewReader(io.LimitReader(f, 4<<10)).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, err
	}
	if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
		return nil, fmt.Errorf("file %q is empty in its first line", name)
	}
	return line, nil
}

// loginError is what a login that failed says of the target.
func loginError(err error) error {
	e := &transport.Error{Kind: transport.Away, Err: err}
	var refused *channel.Error
	if !errors.As(err, &refused) {
		return e
	}
	switch refused.Kind {
	case channel.WrongLogin:
		e.Kind, e.Hint = transport.Refused, "compare the user and the password file here with the secrets file there"
	case channel.NoModule:
		e.Kind, e.Hint = transport.Refused, "look for the name of the module in the receiver's configuration"
	case channel.Certificate:
		e.Kind, e.Hint = transport.Refused, "the receiver shows a certificate that ca_file did not sign for the host of the target: compare it with --cert there"
	case channel.Denied, channel.NoProof, channel.NeedsLogin:
		e.Kind = transport.Refused
	case channel.Busy:
		e.Kind, e.Hint = transport.Busy, "the receiver says why; where it is connections, raise max connections of the module"
	case channel.Version, channel.Foreign, channel.Misconfigured:
		e.Kind = transport.Misconfigured
	}
	return e
}

func rsyncOptions(t config.Target, log *slog.Logger) rsync.Options {
	o := rsync.Options{
		Host:           t.Host,
		Port:           t.Port,
		User:           t.User,
		PasswordFile:   t.PasswordFile,
		SSH:            rsync.SSH{Identity: t.SSHKey, Args: t.SSHOptions},
		Params:         t.Params,
		Timeout:        t.Timeout,
		ConnectTimeout: t.ConnectTimeout,
		Bandwidth:      kibibytes(t.Bandwidth),
		NoWarm:         !t.Warm,
		Trash:          t.Trash > 0,
		Log:            log,
	}
	if t.Kind == config.Daemon {
		o.Module, o.Dir, _ = strings.Cut(t.Path, "/")
	} else {
		o.Dir = t.Path
	}
	return o
}

// kibibytes rounds up: rsync takes a limit of 0 for none.
func kibibytes(bytes int64) int { return int((bytes + 1023) / 1024) }
