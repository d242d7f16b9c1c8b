// Command stores compares embedded stores on what the journal writes: many small changes of sorted rows in one
// transaction a second, each synced, read whole once at the start; and what they do when the disk is full, the power is
// cut or their files are damaged. Those two need root. It prints one table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 6 && os.Args[1] == "worker" {
		dirs, err := strconv.Atoi(os.Args[5])
		if err == nil {
			err = work(os.Args[2], os.Args[3], os.Args[4], dirs)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, errorMark+err.Error())
			os.Exit(3)
		}
		if os.Args[2] == "kill" {
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stores:", err)
		os.Exit(1)
	}
}

// step measures one contestant and adds cells to its column.
type step struct {
	name string
	do   func(ctx context.Context, dir string, c contestant, add func(row, cell string)) error
}

var steps = []step{{"speed", speed}, {"size", binarySize}, {"full", diskFull}, {"power", powerCut}, {"damage", damage}}

func run(ctx context.Context) error {
	dir := flag.String("dir", "", "work below this `directory`, on the disk to measure (default: that of temporary files)")
	only := flag.String("steps", "speed,size,full,power,damage", "measure these only")
	names := flag.String("stores", "", "measure the stores whose names begin so only")
	flag.Parse()
	base, err := os.MkdirTemp(*dir, "stores-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	var t grid
	for _, s := range steps {
		if !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		for _, c := range contestants {
			if !strings.HasPrefix(c.name, *names) {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, c.name)
			if err := s.do(ctx, base, c, func(row, cell string) { t.add(row, c.name, cell) }); err != nil {
				return fmt.Errorf("%s of %s: %w", s.name, c.name, err)
			}
		}
	}
	fmt.Printf("\n%s\n\n", machine(base))
	t.print(os.Stdout)
	return nil
}

// machine says in one line what the figures were measured on.
func machine(dir string) string {
	var name unix.Utsname
	var fs unix.Statfs_t
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	if err := unix.Statfs(dir, &fs); err != nil {
		return err.Error()
	}
	kind := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs"}[fs.Type]
	load, _ := os.ReadFile("/proc/loadavg")
	average, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("Linux %s, %d cores, load %s, %s, %s, an fsync of 4 KiB takes %s", unix.ByteSliceToString(name.Release[:]),
		runtime.NumCPU(), average, kind, runtime.Version(), syncTime(dir))
}
