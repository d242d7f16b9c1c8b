package daemon

import (
	"log/slog"
	"strings"

	"sersync/internal/config"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync"
)

// NewTransport makes the transport of a target. It starts nothing.
func NewTransport(t config.Target, log *slog.Logger) (transport.Transport, error) {
	return rsync.New(rsyncOptions(t, log))
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
		Log:            log.With("target", t.URL()),
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
