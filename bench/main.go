// Command bench measures sersync beside what people use today: bare rsync runs, lsyncd, and sersync 2.5.4 where the
// environment variable SERSYNC254 names its binary. It prints one table; every row is measured on a file system made
// fresh for it, against real rsync daemons with a login on the loopback interface. It runs as root, because it mounts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// rows are all that can be measured, in the order of the table.
var rows = []struct {
	name    string
	measure func(context.Context, *bench) error
}{
	{"burst", measureBurst},
	{"latency", measureLatency},
	{"steady", measureSteady},
	{"remotes", measureRemotes},
	{"tree", measureTree},
	{"journal", measureJournal},
	{"restart", measureRestart},
	{"away", measureAway},
	{"hooks", measureHooks},
	{"native", measureNative},
	{"native-large", measureLarge},
	{"native-rename", measureRename},
	{"native-site", measureSourceTree},
	{"native-many", measureMany},
	{"million", measureMillion},
}

// bench is one run: what was asked for, and the table that it fills.
type bench struct {
	rows    string
	peers   string
	samples int
	short   bool
	disk    bool
	nodelay bool
	check   bool
	json    string
	sersync string
	// old is the binary of sersync 2.5.4; empty when it takes no part.
	old   string
	table table
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == isolatedArg {
		os.Exit(runIsolated(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == accountArg {
		os.Exit(runOnAccount(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run parses the command line, measures and prints.
func run(ctx context.Context) error {
	b := &bench{old: os.Getenv("SERSYNC254")}
	flag.StringVar(&b.rows, "rows", "burst,latency,steady,remotes,tree,journal,restart,away,hooks,native,native-large,native-rename,native-site,native-many", "rows to measure; million takes long and is not among them")
	flag.StringVar(&b.peers, "peers", "sersync,native,lsyncd,lsyncd-default,2.5.4", "who takes part beside bare rsync runs")
	flag.IntVar(&b.samples, "samples", 500, "changes a competitor in the row latency")
	flag.BoolVar(&b.short, "short", false, "a run of about a minute: fewer samples, a smaller tree, without 2.5.4")
	flag.BoolVar(&b.disk, "disk", false, "an ext4 image on the disk for each row, instead of a tmpfs")
	flag.BoolVar(&b.nodelay, "daemon-nodelay", false, "rsync daemons with \"socket options = TCP_NODELAY\"")
	flag.BoolVar(&b.check, "check", false, "exit 1 when a figure is short")
	flag.StringVar(&b.json, "json", "", "write the figures to this `file` too")
	flag.StringVar(&b.sersync, "sersync", "bin/sersync", "the sersync to measure")
	flag.Parse()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.table.print(os.Stdout)
	if b.json != "" {
		if err := b.table.save(b.json); err != nil {
			return err
		}
	}
	switch {
	case b.table.failed():
		return errors.New("not everything could be measured")
	case b.check && b.table.short():
		return errors.New("a figure is short of its target")
	}
	return nil
}

// prepare settles who takes part and installs what is missing.
func (b *bench) prepare(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("mount file systems: the benchmark must run as root")
	}
	for _, name := range strings.Split(b.rows, ",") {
		if !slices.Contains(rowNames(), name) {
			return fmt.Errorf("measure row %q: there is %s", name, strings.Join(rowNames(), ", "))
		}
	}
	if b.short {
		b.samples = min(b.samples, 60)
		b.old = ""
	}
	if b.takesPart("sersync") || b.takesPart("native") {
		if _, err := os.Stat(b.sersync); err != nil {
			return fmt.Errorf("find sersync (build it with make build): %w", err)
		}
	}
	if err := install(ctx, "rsync", "rsync"); err != nil {
		return err
	}
	if b.takesPart("lsyncd") || b.takesPart("lsyncd-default") {
		if err := install(ctx, "lsyncd", "lsyncd"); err != nil {
			return err
		}
	}
	b.table.Machine = b.machine(ctx)
	return nil
}

// measure goes through the rows. What fails is a line in the table and does not keep the rest from being measured; only
// an interrupt is an error.
func (b *bench) measure(ctx context.Context) error {
	for _, row := range rows {
		if !slices.Contains(strings.Split(b.rows, ","), row.name) {
			continue
		}
		progress("row %s", row.name)
		b.table.row = row.name
		if err := row.measure(ctx, b); err != nil {
			b.table.fail(err)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	return nil
}

// takesPart reports whether the competitor was asked for and can run here.
func (b *bench) takesPart(name string) bool {
	if name == "2.5.4" && b.old == "" {
		return false
	}
	return slices.Contains(strings.Split(b.peers, ","), name)
}

func rowNames() []string {
	var names []string
	for _, row := range rows {
		names = append(names, row.name)
	}
	return names
}

// progress tells the person who waits what is being done; the table alone goes to standard output.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
