package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sersync/internal/config"
	rsyncdconf "sersync/internal/config/rsyncd"
	"sersync/internal/daemon"
	"sersync/internal/receive"
)

// receiveProcess is the word by which a receiver starts its own processes.
const receiveProcess = "receive-process"

type receiveFlags struct {
	config, listen, root, secrets string
	certificates                  rsyncdconf.Certificates
	stdio                         bool
}

func (a *app) receive() *cobra.Command {
	var f receiveFlags
	c := &cobra.Command{
		Use:   "receive --config FILE | --root DIRECTORY --secret-file FILE",
		Short: "be the target: take what other sersyncs send, in the place of an rsync daemon",
		Long: `receive takes what other sersyncs send to sersync://USER@THIS-HOST/MODULE, and puts it into the directories of the modules
of an rsyncd.conf, as "rsync --daemon" does with that file. Options of the file that it does not honour are named at the start. It runs in
the foreground until SIGTERM; SIGHUP reads the file again.

With --root there is no such file: one directory, as the module "` + rsyncdconf.SingleName + `". The secret file holds a line USER:PASSWORD for each user, as a
secrets file of rsync, for its owner alone to read.

Sender and receiver know each other by the secret of a user. With --cert and --key the receiver has a certificate of your own authority as well, and with
--client-ca its clients have one; then a module without a secrets file takes the name in the certificate for the user.`,
		Args: between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.receiveAll(c.Context(), f) },
	}
	c.Flags().StringVar(&f.config, "config", "", "the configuration of the rsync daemon, as /etc/rsyncd.conf")
	c.Flags().StringVar(&f.listen, "listen", "", fmt.Sprintf("HOST:PORT to listen on; :PORT is all addresses (default: as the file says, port %d)", config.NativePort))
	c.Flags().StringVar(&f.root, "root", "", "the one directory to put everything into")
	c.Flags().BoolVar(&f.stdio, "stdio", false, "serve one sender over standard input and output, as ssh starts it for a target ssh://USER@HOST/DIRECTORY")
	c.Flags().StringVar(&f.secrets, "secret-file", "", "who may send to --root: lines USER:PASSWORD")
	c.Flags().StringVar(&f.certificates.Cert, "cert", "", "the certificate of the receiver, and those between it and its authority, in PEM")
	c.Flags().StringVar(&f.certificates.Key, "key", "", "its private key, which only its owner can read")
	c.Flags().StringVar(&f.certificates.ClientCA, "client-ca", "", "the authority whose certificates clients must have")
	return c
}

// absolute has the whole names of files. Those that are named in a configuration have to be whole there.
func (f receiveFlags) absolute() receiveFlags {
	for _, name := range []*string{&f.config, &f.root, &f.secrets, &f.certificates.Cert, &f.certificates.Key, &f.certificates.ClientCA} {
		*name = absolute(*name)
	}
	return f
}

// load reads the configuration that the flags name.
func (f receiveFlags) load() (*receive.Config, []config.Problem, error) {
	read := func() (*receive.Config, []config.Problem, error) { return rsyncdconf.Load(f.config, f.certificates) }
	if f.root != "" {
		read = func() (*receive.Config, []config.Problem, error) {
			return rsyncdconf.Single(f.root, f.secrets, f.certificates)
		}
	}
	cfg, problems, err := read()
	if err == nil && f.listen != "" {
		cfg.Listen = f.listen
	}
	return cfg, problems, err
}

func (f receiveFlags) check() error {
	switch {
	case f.config == "" && f.root == "":
		return usage("receive needs --config FILE, or --root DIRECTORY and --secret-file FILE")
	case f.stdio && (f.root == "" || f.config != "" || f.secrets != "" || f.listen != "" || f.certificates != rsyncdconf.Certificates{}):
		return usage("--stdio goes with --root alone")
	case f.config != "" && (f.root != "" || f.secrets != ""):
		return usage("--config and --root exclude each other")
	case f.root != "" && f.secrets == "" && f.certificates.ClientCA == "" && !f.stdio:
		return usage("--root needs --secret-file, or --client-ca: without them everybody could write into the directory")
	}
	if f.listen != "" {
		if _, _, err := net.SplitHostPort(f.listen); err != nil {
			return usage("--listen is HOST:PORT, or :PORT for all addresses of this machine")
		}
	}
	return nil
}

func (a *app) receiveAll(ctx context.Context, f receiveFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.stdio {
		return daemon.ServeStdio(ctx, f.root, Version)
	}
	f = f.absolute()
	cfg, problems, err := f.load()
	var invalid *config.InvalidError
	for _, p := range problems {
		// The error says all that are errors.
		if err == nil || errors.As(err, &invalid) && p.Severity != config.Error {
			fmt.Fprintln(a.err, p)
		}
	}
	if err != nil {
		return err
	}
	log, closeLog, err := a.receiveLog(cfg.LogFile)
	if err != nil {
		return err
	}
	defer closeLog()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return receive.Run(ctx, receive.Options{
		Config: cfg,
		Load: func() (*receive.Config, error) {
			cfg, problems, err := f.load()
			for _, p := range problems {
				log.Warn("configuration", "problem", strings.TrimSpace(p.String()))
			}
			return cfg, err
		},
		Reload: hup, Child: []string{receiveProcess}, Log: log,
		Listening: func(at net.Addr) { fmt.Fprintf(a.out, "receiving on %s\n", at) },
	})
}

// receiveLog is the log file of an rsyncd.conf, or standard error.
func (a *app) receiveLog(file string) (*slog.Logger, func(), error) {
	if file == "" {
		return newLog(a.err, config.Log{}, slog.LevelInfo), func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, fail(exitError, fmt.Sprintf("open log file: %v", err), "name another \"log file\" in the configuration")
	}
	return newLog(f, config.Log{}, slog.LevelInfo), func() { f.Close() }, nil
}
