package cli

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/torture"
)

func (a *app) torture() *cobra.Command {
	o := torture.Options{Out: a.out}
	c := &cobra.Command{
		Use:   "torture DIR",
		Short: "prove on this machine that nothing is lost",
		Long: `torture starts sersync below the empty directory DIR, with rsync daemons, receivers of sersync or directories as targets, changes
the source at random, and meanwhile kills, stops, cuts and freezes whatever there is. In the end every target must equal the source, after no
restart may anything have been sent that had not changed, and whoever reads on a target that is no rsync daemon must find whole files. It returns 0 then and removes what it made. With 1 it says which
paths are wrong and how to see it again, and keeps everything.

It needs the program rsync when rsync daemons are among the targets. As root it harms more: owners are changed, and the kernel's queue of events overflows (the limit
fs.inotify.max_queued_events is 64 while sersync is started, and is put back).`,
		Args: between(1, 1, "an empty directory"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Dir = args[0]
			return a.startTorture(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Target, "target", torture.Kinds[0], "what the targets are: "+strings.Join(torture.Kinds[1:], ", ")+", or one of each: "+torture.Kinds[0])
	f.Uint64Var(&o.Seed, "seed", 0, "the seed of all that is random (default: another one each time)")
	f.DurationVar(&o.Duration, "duration", time.Minute, "how long to change and harm, at the least")
	f.IntVar(&o.Ops, "ops", 0, "how many changes to make, at the least")
	f.IntVar(&o.Kills, "kills", 0, "how often to kill sersync, at the least")
	f.BoolVar(&o.Power, "power", false, "also cut the power of the state directory and of a target, on images of their own; needs root")
	f.BoolVar(&o.Soak, "soak", false, "do not end sersync, and look whether it grows")
	f.BoolVar(&o.Keep, "keep", false, "keep everything when all is well, too")
	return c
}

func (a *app) startTorture(ctx context.Context, o torture.Options) error {
	if o.Duration < 0 || o.Ops < 0 || o.Kills < 0 {
		return usage("--duration, --ops and --kills cannot be negative")
	}
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("find program of this process: %w", err)
	}
	for o.Seed == 0 {
		var b [4]byte
		rand.Read(b[:])
		o.Seed = uint64(binary.BigEndian.Uint32(b[:]))
	}
	if width := columns(a.out); width > 0 {
		o.Line = func(text string) { fmt.Fprintf(a.out, "\r\x1b[K%s", cut(text, width-1)) }
	}
	err = torture.Run(ctx, o)
	var wrong *torture.UsageError
	if errors.As(err, &wrong) {
		return fail(exitUsage, wrong.Text, wrong.Advice)
	}
	return err
}
