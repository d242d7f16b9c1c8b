package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// account counts the CPU time of one end of a replication: of some processes and of all that they start. It is a
// cgroup, v1 or v2; where there is none it sums /proc, reaped children included.
type account struct {
	// dir is the cgroup; empty without one.
	dir string
	// usage is the file in dir that holds the time.
	usage string
	pids  []int
}

// newAccount makes a cgroup of the name, or an account without one.
func newAccount(name string) (*account, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	root, usage := findAccounting(string(mounts))
	if root == "" {
		return &account{}, nil
	}
	a := &account{dir: filepath.Join(root, name), usage: usage}
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return a, nil
}

// findAccounting finds in a mount table where CPU time is counted, and the file that holds it: cpuacct of v1, or else v2.
func findAccounting(mounts string) (root, usage string) {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		if f[2] == "cgroup" && strings.Contains(","+f[3]+",", ",cpuacct,") {
			return f[1], "cpuacct.usage"
		}
		if f[2] == "cgroup2" {
			root, usage = f[1], "cpu.stat"
		}
	}
	return root, usage
}

// add puts a process, and all that it will start, on the account. 0 is the calling process.
func (a *account) add(pid int) error {
	if a.dir == "" {
		a.pids = append(a.pids, pid)
		return nil
	}
	err := os.WriteFile(filepath.Join(a.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	if err != nil {
		return fmt.Errorf("put process %d into the cgroup: %w", pid, err)
	}
	return nil
}

// used is the CPU time so far.
func (a *account) used() (time.Duration, error) {
	if a.dir == "" {
		return usedByTrees(a.pids)
	}
	data, err := os.ReadFile(filepath.Join(a.dir, a.usage))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return parseUsage(a.usage, string(data))
}

// parseUsage reads nanoseconds of v1 or microseconds of v2.
func parseUsage(usage, text string) (time.Duration, error) {
	unit := time.Nanosecond
	if usage == "cpu.stat" {
		_, text, _ = strings.Cut(text, "usage_usec ")
		text, _, _ = strings.Cut(text, "\n")
		unit = time.Microsecond
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse CPU time: %w", err)
	}
	return time.Duration(n) * unit, nil
}

// remove takes the cgroup away; its processes were ended, but the kernel may need a moment to see it.
func (a *account) remove() error {
	if a.dir == "" {
		return nil
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := unix.Rmdir(a.dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// tick is what /proc counts CPU time in: USER_HZ, 100 a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// usedByTrees sums the CPU time of processes and of their descendants.
func usedByTrees(pids []int) (time.Duration, error) {
	used, err := trees(pids)
	var sum time.Duration
	for _, cpu := range used {
		sum += cpu
	}
	return sum, err
}

// trees are processes and their descendants, with the CPU time of each.
func trees(pids []int) (map[int]time.Duration, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	used := make(map[int]time.Duration)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it ended since
		}
		pid, parent, cpu, err := parseStat(data)
		if err != nil {
			return nil, fmt.Errorf("parse %q: %w", name, err)
		}
		children[parent] = append(children[parent], pid)
		used[pid] = cpu
	}
	found := make(map[int]time.Duration)
	for todo := pids; len(todo) > 0; todo = todo[1:] {
		found[todo[0]] = used[todo[0]]
		todo = append(todo, children[todo[0]]...)
	}
	return found, nil
}

// parseStat reads number, parent and CPU time, that of reaped children included, from /proc/PID/stat.
func parseStat(data []byte) (pid, parent int, cpu time.Duration, err error) {
	// The name, in parentheses, may hold anything.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return 0, 0, 0, errors.New("no name")
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 15 {
		return 0, 0, 0, errors.New("too few fields")
	}
	var numbers []int
	for _, field := range append([]string{strings.TrimSpace(string(data[:open])), f[1]}, f[11:15]...) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, 0, err
		}
		numbers = append(numbers, n)
	}
	ticks := numbers[2] + numbers[3] + numbers[4] + numbers[5]
	return numbers[0], numbers[1], time.Duration(ticks) * tick, nil
}
