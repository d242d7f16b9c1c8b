package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// farTrip is the round trip to a target that is far away.
const farTrip = 20 * time.Millisecond

// nativePeer is sersync with the stream of its own, to "sersync receive" in the place of the rsync daemon.
func (b *bench) nativePeer() peer {
	return peer{name: "native", command: b.sersyncCommand(false), receiver: b.receiverCommand}
}

// receiverCommand runs the receiver on the configuration that the rsync daemon would have.
func (b *bench) receiverCommand(s *site) (*exec.Cmd, error) {
	config, err := daemonConfig(s.dir, s.targets, s.stage.daemonOptions)
	if err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(b.sersync)
	if err != nil {
		return nil, fmt.Errorf("find sersync: %w", err)
	}
	return exec.Command(binary, "receive", "--config", config, "--listen", "127.0.0.1:"+strconv.Itoa(s.port)), nil
}

// startReceiver runs the receiver alone. It starts its processes at once, so that it must be on the account of the targets before.
func (s *site) startReceiver(ctx context.Context, p peer) error {
	for i, url := range s.urls {
		s.urls[i] = "sersync://" + strings.TrimPrefix(url, "rsync://")
	}
	cmd, err := p.receiver(s)
	if err != nil {
		return err
	}
	if s.targetCPU.dir != "" {
		cmd = exec.Command("/proc/self/exe", append([]string{accountArg, s.targetCPU.dir}, cmd.Args...)...)
	}
	if s.daemon, err = s.run(cmd, "receiver"); err != nil {
		return err
	}
	if s.targetCPU.dir == "" {
		if err := s.targetCPU.add(s.daemon.pid()); err != nil {
			return err
		}
	}
	return waitForPort(ctx, s.port, s.daemon.ended)
}

// accountArg makes this program join an account and become another program.
const accountArg = "run-on-account"

// runOnAccount takes the directory of the account, and the program with its arguments.
func runOnAccount(args []string) int {
	if len(args) < 2 {
		return 2
	}
	err := (&account{dir: args[0]}).add(0)
	if err == nil {
		err = unix.Exec(args[1], args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "on account:", err)
	return 1
}

// nativeLatency says what single changes have to keep with the stream of our own; either may have been left out.
func (b *bench) nativeLatency(native, rsync *contestant) {
	if native == nil {
		return
	}
	b.table.atMost("change: native p50", ms(median(native.change)), 1, "ms", "")
	b.table.atMost("change: native p99", ms(percentile(native.change, 99)), 3, "ms", "")
	if rsync != nil {
		b.table.atMost("change: native p50 against sersync p50", ratio(median(native.change), median(rsync.change)), 0.5, "times", "")
	}
}

// measureNative measures the stream of our own where the way is long, and many small files at once.
func measureNative(ctx context.Context, b *bench) error {
	if !b.takesPart("native") {
		return nil
	}
	if err := b.measureFarLatency(ctx); err != nil {
		return err
	}
	return b.measureMasses(ctx)
}

// measureFarLatency measures single changes on a target that is a round trip of farTrip away, in turns.
func (b *bench) measureFarLatency(ctx context.Context) (err error) {
	stage, err := b.newStage(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	var all []*contestant
	for _, p := range []peer{b.nativePeer(), b.sersyncPeer()} {
		if !b.takesPart(p.name) {
			continue
		}
		p.far = true
		c, err := newContestant(ctx, stage, p, 1)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	progress("%d changes through a round trip of %v", b.samples/2, farTrip)
	if err := b.alternate(ctx, all, b.samples/2, (*contestant).sampleChange); err != nil {
		return err
	}
	for _, c := range all {
		what := fmt.Sprintf("change, round trip %v, %s: p50", farTrip, c.name)
		note := fmt.Sprintf("p95 %.2f, p99 %.2f ms, %d samples", ms(percentile(c.change, 95)), ms(percentile(c.change, 99)), len(c.change))
		switch {
		case c.failed:
		case c.name == "native":
			b.table.atMost(what, ms(median(c.change)), 25, "ms", note)
		default:
			b.table.info(what, ms(median(c.change)), "ms", note)
		}
	}
	return nil
}

// streamPeers are those that the stream of our own is compared with, and it: bare runs first, which are started when all is written.
func (b *bench) streamPeers() []peer {
	part := []peer{{name: "bare"}}
	for _, p := range b.competitors() {
		if p.name != "lsyncd-default" && p.name != "2.5.4" {
			part = append(part, p)
		}
	}
	return part
}

// inTurns has all peers measured in each round, each round beginning with another one; slow ones take part in the first
// three. One that fails is a line in the table and takes no further part.
func (b *bench) inTurns(ctx context.Context, peers []peer, rounds int, measure func(context.Context, peer) error) error {
	failed := make(map[string]bool)
	for round := range rounds {
		for i := range peers {
			p := peers[(round+i)%len(peers)]
			if failed[p.name] || p.slow && round >= 3 {
				continue
			}
			err := measure(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed[p.name] = true
				b.table.fail(fmt.Errorf("%s: %w", p.name, err))
			}
		}
	}
	return nil
}
