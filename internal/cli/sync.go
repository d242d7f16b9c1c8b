package cli

import (
	"context"
	"fmt"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/config"
	"sersync/internal/filter"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// syncFlags are the flags of sync.
type syncFlags struct {
	once          bool
	dryRun        bool
	unbound       bool
	passwordFile  string
	ca, cert, key string
	exclude       []string
	port          int
}

func (a *app) sync() *cobra.Command {
	var f syncFlags
	c := &cobra.Command{
		Use:   "sync SRC TARGET...",
		Short: "replicate one directory, without a configuration",
		Long: `sync compares the directory SRC with every TARGET, sends what differs, and goes on replicating
what changes until it is stopped. A TARGET is

    a directory of this machine
    sersync://USER@HOST[:PORT]/MODULE         a "sersync receive", over our own stream
    ssh://USER@HOST[:PORT]/PATH               a directory over ssh, by the sersync that is installed there
    rsync://USER@HOST[:PORT]/MODULE[/PATH]    an rsync daemon
    USER@HOST:/PATH                           a directory over ssh, by the rsync that is installed there

With --dry-run it says in what they differ, and changes nothing: with 0 when all are equal, with 1 when any differs, as verify does.
With --once it ends when the targets are equal: with 0, or with 1 when that cannot be reached.`,
		Example: `  sersync sync /data /mnt/copy --exclude '*.swp'
  sersync sync /data sersync://backup@172.16.1.41/data --password-file /etc/rsync.password
  sersync sync /data rsync://backup@172.16.1.41/data --password-file /etc/rsync.password`,
		Args: between(2, -1, "a source and at least one target"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.dryRun {
				return a.drySync(c.Context(), args, f)
			}
			return a.startSync(c.Context(), args, f)
		},
	}
	c.Flags().BoolVar(&f.once, "once", false, "end when the targets are equal to the source")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "say in what the targets differ, and change nothing")
	c.Flags().BoolVar(&f.unbound, "no-removal-budget", false, "remove however much is too much on a target")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "the password for rsync daemons and receivers, alone in a file that only its owner can read")
	c.Flags().StringVar(&f.ca, "ca", "", "the authority that signed the certificate of a sersync:// receiver, in PEM")
	c.Flags().StringVar(&f.cert, "cert", "", "the certificate to show to a receiver that wants one")
	c.Flags().StringVar(&f.key, "key", "", "its private key, which only its owner can read")
	c.Flags().StringArrayVar(&f.exclude, "exclude", nil, `do not replicate what matches, as a line of .gitignore: "*.swp", "/cache/", "!keep.log"`)
	c.Flags().IntVar(&f.port, "port", 0, "the port of targets that do not name one")
	return c
}

// drySync says what a sync would do.
func (a *app) drySync(ctx context.Context, args []string, f syncFlags) error {
	cfg, _, err := config.FromArgs(args[0], args[1:], f.edit)
	if err != nil {
		return asTrouble(err)
	}
	return a.verifyAll(ctx, cfg, nil, verifyFlags{})
}

func (a *app) startSync(ctx context.Context, args []string, f syncFlags) error {
	// There is no file to read again: when its terminal is closed, it ends.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	show := newConsole(a.out)
	var socket string
	s := service{newLog: show.log, onBatch: show.batch}
	s.load = func() (*config.Config, []config.Problem, error) {
		cfg, problems, err := config.FromArgs(args[0], args[1:], f.edit)
		if err != nil {
			return nil, nil, err
		}
		for n, t := range cfg.Sources[0].Targets {
			show.names[t.URL()] = args[1+n]
		}
		socket = cfg.Socket
		show.block(cfg)
		return cfg, problems, nil
	}
	client := func() *httpd.Client { return httpd.NewClient(socket) }
	if show.width() > 0 {
		watching, stop := context.WithCancel(ctx)
		var watched sync.WaitGroup
		defer watched.Wait()
		defer stop()
		p := &progress{name: show.name, sending: map[string]goal{}}
		s.up = func() { watched.Go(func() { p.watch(watching, show, client()) }) }
	}
	if !f.once {
		return a.serve(ctx, s)
	}
	return a.syncOnce(ctx, s, client)
}

// edit puts what the flags say into the source.
func (f syncFlags) edit(s *config.Source) {
	for _, pattern := range f.exclude {
		s.Rules = append(s.Rules, filter.Glob("--exclude", pattern))
	}
	s.RemovalBudget.Off = f.unbound
	for i := range s.Targets {
		t := &s.Targets[i]
		if t.Kind == config.Daemon || t.Kind == config.Native {
			t.PasswordFile = absolute(f.passwordFile)
		}
		if t.Kind == config.Native {
			t.CAFile, t.CertFile, t.KeyFile = absolute(f.ca), absolute(f.cert), absolute(f.key)
		}
		if t.Kind != config.Local && t.Port == 0 {
			t.Port = f.port
		}
	}
}

// absolute is the whole name of a file: the configuration is no place to be relative to.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); name != "" && err == nil {
		return abs
	}
	return name
}

// syncOnce replicates until the targets are equal.
func (a *app) syncOnce(ctx context.Context, s service, client func() *httpd.Client) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	up := make(chan struct{})
	then := s.up
	s.up = func() {
		if then != nil {
			then()
		}
		close(up)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.serve(running, s) }()
	select {
	case err := <-ended:
		if err == nil {
			err = fail(exitError, "interrupted before the targets were equal", "")
		}
		return err
	case <-up:
	}
	err := equal(running, client())
	stop()
	if ended := <-ended; ended != nil {
		return ended
	}
	if ctx.Err() != nil {
		return fail(exitError, "interrupted before the targets were equal", "")
	}
	return err
}

// lookEvery is how often a sync --once looks for a reason to give up.
const lookEvery = 200 * time.Millisecond

// equal returns nil once the targets are equal, and an error when that cannot be reached.
func equal(ctx context.Context, client *httpd.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	acked := make(chan error, 1)
	go func() {
		// The first wait ends when what the comparison found is owed, the second when it is there.
		for range 2 {
			if _, err := client.Wait(ctx, httpd.WaitRequest{}); err != nil {
				acked <- err
				return
			}
		}
		acked <- nil
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case err := <-acked:
			if err != nil {
				return err
			}
			return hopeless(ctx, client)
		case <-look.C:
			if err := hopeless(ctx, client); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// triesMax is how often a target, or a path, may be tried in vain before a sync --once gives it up.
const triesMax = 3

// hopeless says why the targets cannot become equal, and nil while they can.
func hopeless(ctx context.Context, client *httpd.Client) error {
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range status.Sources {
		if s.Brake != nil {
			hint := ""
			if s.Brake.Kind == "removal-budget" {
				hint = "--dry-run says what would go, --no-removal-budget lets it"
			}
			return fail(exitError, "removals are held: "+s.Brake.Reason, hint)
		}
		for _, t := range s.Targets {
			if t.Dead > 0 {
				d := t.DeadLetters[0]
				return fail(exitError, fmt.Sprintf("cannot send %s to %s: %s", d.Path, quote(t.Name), d.Error), "")
			}
			if t.Retrying > 0 && t.Retrying == t.Waiting {
				if err := failing(ctx, client, s.Name, t.Name); err != nil {
					return err
				}
			}
			if e := t.LastError; e != nil && t.State != "idle" && t.State != "sending" && (lasting(t.State) || e.Count >= triesMax) {
				return fail(exitError, fmt.Sprintf("%s is %s: %s", quote(t.Name), t.State, e.Text), e.Hint)
			}
		}
	}
	return nil
}

// failing says why a target will not have the paths that are all that it lacks, once each was tried often enough.
func failing(ctx context.Context, client *httpd.Client, source, target string) error {
	failed, err := client.Failed(ctx, httpd.PathsRequest{Source: source, Target: target})
	if err != nil {
		return err
	}
	for _, t := range failed.Targets {
		hopeful := func(p replicate.OwedPath) bool { return p.Tries < triesMax }
		if len(t.Paths) == 0 || slices.ContainsFunc(t.Paths, hopeful) {
			continue
		}
		p := t.Paths[0]
		return fail(exitError, fmt.Sprintf("cannot send %s to %s: %s", p.Path, quote(target), p.Error), "")
	}
	return nil
}

// lasting reports whether a target stays in the state until a person acts.
func lasting(state string) bool {
	switch state {
	case "refused", "read-only", "misconfigured", "removals-refused":
		return true
	}
	return false
}
