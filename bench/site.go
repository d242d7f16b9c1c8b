package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// readyTimeout bounds how long a peer may take until it replicates.
const readyTimeout = 30 * time.Second

// site is a source, its targets behind one rsync daemon, and perhaps the peer that keeps them equal.
type site struct {
	stage  *stage
	dir    string
	source string
	// targets are directories that can be looked at; urls name the same, and perhaps more that nobody can reach.
	targets      []string
	urls         []string
	port         int
	passwordFile string
	// state is where sersync keeps its state, metrics the address of its metrics; empty for none.
	state, metrics string
	// settings are further lines for the source in sersync's configuration.
	settings string
	// relay is between the peer and the targets, where there is one.
	relay *relay
	// sourceCPU and targetCPU count the CPU time of the peer and of the daemon.
	sourceCPU, targetCPU *account
	// process is the peer; nil for bare runs.
	process *process
	// bare is the last bare run that was started.
	bare *process
	// daemon is that of the targets, or their receiver; nil when it shares its namespaces with the peer.
	daemon *process
}

// newSite makes the directories; nothing runs yet.
func newSite(s *stage, name string, targets int) (*site, error) {
	site := &site{stage: s, dir: filepath.Join(s.dir, name)}
	site.source = filepath.Join(site.dir, "source")
	site.passwordFile = filepath.Join(site.dir, "password")
	site.state = filepath.Join(site.dir, "state")
	var err error
	if site.port, err = freePort(); err != nil {
		return nil, err
	}
	dirs := []string{site.source}
	for i := range targets {
		site.targets = append(site.targets, filepath.Join(s.targets, name, "target"+strconv.Itoa(i)))
		site.urls = append(site.urls, moduleURL(site.port, i))
	}
	for _, dir := range append(dirs, site.targets...) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make site: %w", err)
		}
	}
	if err := os.WriteFile(site.passwordFile, []byte(secret+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write password file: %w", err)
	}
	if site.sourceCPU, err = site.newAccount("source"); err != nil {
		return nil, err
	}
	if site.targetCPU, err = site.newAccount("target"); err != nil {
		return nil, err
	}
	return site, nil
}

// newAccount makes an account that lives as long as the stage.
func (s *site) newAccount(end string) (*account, error) {
	name := fmt.Sprintf("sersync-bench-%d-%s-%s", os.Getpid(), filepath.Base(s.dir), end)
	a, err := newAccount(name)
	if err != nil {
		return nil, err
	}
	s.stage.onClose(a.remove)
	return a, nil
}

// up brings up the daemon and the peer, and returns when it replicates; a peer without a command is bare runs.
func (s *site) up(ctx context.Context, p peer) error {
	if p.command == nil {
		return s.startBare(ctx)
	}
	if err := s.start(ctx, p); err != nil {
		return err
	}
	return s.ready(ctx)
}

// startBare runs the daemon alone, for bare rsync runs.
func (s *site) startBare(ctx context.Context) error {
	cmd, err := daemonCommand(s.dir, s.port, s.targets, s.stage.daemonOptions)
	if err != nil {
		return err
	}
	if s.daemon, err = s.run(cmd, "daemon"); err != nil {
		return err
	}
	if err := s.targetCPU.add(s.daemon.pid()); err != nil {
		return err
	}
	return waitForPort(ctx, s.port, s.daemon.ended)
}

// start runs the daemon and the peer. It does not wait until the peer replicates.
func (s *site) start(ctx context.Context, p peer) error {
	if p.isolated {
		return s.startIsolated(p)
	}
	targets := s.startBare
	if p.receiver != nil {
		targets = func(ctx context.Context) error { return s.startReceiver(ctx, p) }
	}
	if err := targets(ctx); err != nil {
		return err
	}
	return s.startPeer(p)
}

// startPeer runs the peer alone: the daemon is up, or must not be.
func (s *site) startPeer(p peer) error {
	cmd, err := p.command(s)
	if err != nil {
		return err
	}
	if s.process, err = s.run(cmd, "peer"); err != nil {
		return err
	}
	return s.sourceCPU.add(s.process.pid())
}

// startIsolated runs daemon and peer in namespaces of their own, where each joins its account. Without cgroups both
// are on the account of the source.
func (s *site) startIsolated(p peer) error {
	daemon, err := daemonCommand(s.dir, s.port, s.targets, s.stage.daemonOptions)
	if err != nil {
		return err
	}
	program, err := p.command(s)
	if err != nil {
		return err
	}
	cmd, err := isolation{
		Port: s.port, Daemon: daemon.Args, Program: program.Args,
		DaemonAccount: s.targetCPU.dir, SourceAccount: s.sourceCPU.dir,
	}.command()
	if err != nil {
		return err
	}
	restore, err := keepSysctls()
	if err != nil {
		return err
	}
	s.stage.onClose(restore)
	if s.process, err = s.run(cmd, "peer"); err != nil {
		return err
	}
	if s.sourceCPU.dir != "" {
		return nil
	}
	return s.sourceCPU.add(s.process.pid())
}

// run starts a program that ends with the stage.
func (s *site) run(cmd *exec.Cmd, name string) (*process, error) {
	p, err := startProcess(cmd, filepath.Join(s.dir, name+".out"))
	if err != nil {
		return nil, err
	}
	s.stage.onClose(p.stop)
	return p, nil
}

// startRun starts a bare run.
func (s *site) startRun(cmd *exec.Cmd) (err error) {
	s.bare, err = s.run(cmd, "bare")
	return err
}

// ready returns when changes of the source arrive at every target and the peer has come to rest. It looks at nothing
// but what arrives, so that it is the same for all peers.
func (s *site) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("nothing arrives"))
	defer cancel()
	// The first probe may come with a comparison at the start; the second one is replicated live.
	for n, arrived := 0, 0; arrived < 2; n++ {
		there, err := s.probe(ctx, fmt.Sprintf("ready-%d", n))
		if err != nil {
			return err
		}
		if there {
			arrived++
		}
	}
	probes, err := filepath.Glob(filepath.Join(s.source, "ready-*"))
	if err != nil {
		return err
	}
	for _, probe := range probes {
		if err := os.Remove(probe); err != nil {
			return err
		}
	}
	for {
		left := 0
		for _, target := range s.targets {
			probes, err := filepath.Glob(filepath.Join(target, "ready-*"))
			if err != nil {
				return err
			}
			left += len(probes)
		}
		if left == 0 {
			return pause(ctx, time.Second)
		}
		if err := s.wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// probe writes a file and reports whether it arrives everywhere within a second.
func (s *site) probe(ctx context.Context, name string) (bool, error) {
	if err := os.WriteFile(filepath.Join(s.source, name), []byte(name), 0o644); err != nil {
		return false, err
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		missing := 0
		for _, target := range s.targets {
			if !same(filepath.Join(s.source, name), filepath.Join(target, name)) {
				missing++
			}
		}
		if missing == 0 {
			return true, nil
		}
		if err := s.wait(ctx, 5*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// wait pauses for a moment while the peer runs, and no bare run has failed.
func (s *site) wait(ctx context.Context, d time.Duration) error {
	if s.bare != nil {
		if err := s.bare.failed(); err != nil {
			return err
		}
	}
	if s.process != nil {
		if err := s.process.ended(); err != nil {
			return err
		}
	}
	if err := pause(ctx, d); err != nil {
		cause := context.Cause(ctx)
		if s.process == nil {
			return cause
		}
		return fmt.Errorf("wait for the peer: %w: %s", cause, s.process.tail())
	}
	return nil
}
