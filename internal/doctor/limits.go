package doctor

import (
	"fmt"
	"math/bits"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// queueWant is what sersync sets as root: what some ten writers make in a second.
	queueWant = 262144
	// watchesLeast is what is proposed for a small tree: 1 KiB of kernel memory each, and only when used.
	watchesLeast = 524288
	// Open files that a process, a source and a target need at the most: two runs and two that are kept ready a target, with
	// their pipes.
	filesBase, filesSource, filesTarget = 64, 16, 40
)

// limits compares the limits of the kernel with what the sources need.
func (e *examination) limits() Part {
	p := Part{Kind: "limits"}
	e.watches(&p)
	e.instances(&p)
	e.queue(&p)
	e.files(&p)
	e.fanotify(&p)
	return p
}

// sysctl is the value of a limit.
func (e *examination) sysctl(name string) (int, error) {
	text, err := e.read("sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, fmt.Errorf("read limit %q: %w", name, err)
	}
	n, err := strconv.Atoi(strings.Fields(string(text) + " x")[0])
	if err != nil {
		return 0, fmt.Errorf("read limit %q: %w", name, err)
	}
	return n, nil
}

// binding is the lower one of a limit and that of the user namespace, where there is one.
func (e *examination) binding(name, ofNamespace string) (string, int, error) {
	n, err := e.sysctl(name)
	if inner, innerErr := e.sysctl(ofNamespace); innerErr == nil && (err != nil || inner < n) {
		return ofNamespace, inner, nil
	}
	return name, n, err
}

// set says how to raise a limit for good.
func set(name string, value int) string {
	return fmt.Sprintf("write the line %s = %d into /etc/sysctl.d/90-sersync.conf, then: sysctl --system", name, value)
}

func unreadable(p *Part, check string, err error) {
	p.add(Warning, check, "mount /proc", "%v", err)
}

func (e *examination) watches(p *Part) {
	const check = "max_user_watches"
	name, have, err := e.binding("fs.inotify.max_user_watches", "user.max_inotify_watches")
	if err != nil {
		unreadable(p, check, err)
		return
	}
	remedy := set(name, max(watchesLeast, powerOfTwo(2*e.need.dirs)))
	switch dirs := plural(e.need.dirs, "directory"); {
	case e.need.dirs > have && os.Geteuid() == 0 && name != "user.max_inotify_watches":
		p.add(Warning, check, remedy, "%s is %d, the sources have %s: sersync raises it as root, until the next boot", name, have, dirs)
	case e.need.dirs > have:
		p.add(Problem, check, remedy, "%s is %d, the sources have %s: at least %d are not watched", name, have, dirs, e.need.dirs-have)
	case e.need.dirs > have/4*3:
		p.add(Warning, check, remedy, "%s is %d, the sources have %s: little is left for what grows, and for other programs", name, have, dirs)
	default:
		p.ok(check, "%s is %d, the sources have %s", name, have, dirs)
	}
}

// powerOfTwo is the least one that is not less than n.
func powerOfTwo(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}

func (e *examination) instances(p *Part) {
	const check = "max_user_instances"
	name, have, err := e.binding("fs.inotify.max_user_instances", "user.max_inotify_instances")
	// Each source has one; login sessions and container engines have some dozens.
	want := powerOfTwo(e.need.sources + 64)
	switch {
	case err != nil:
		unreadable(p, check, err)
	case have < e.need.sources:
		p.add(Problem, check, set(name, want), "%s is %d, for %s", name, have, plural(e.need.sources, "source"))
	case have < e.need.sources+16:
		p.add(Warning, check, set(name, want), "%s is %d, for %s: little is left for other programs", name, have, plural(e.need.sources, "source"))
	default:
		p.ok(check, "%s is %d, for %s", name, have, plural(e.need.sources, "source"))
	}
}

func (e *examination) queue(p *Part) {
	const check, name = "max_queued_events", "fs.inotify.max_queued_events"
	have, err := e.sysctl(name)
	switch {
	case err != nil:
		unreadable(p, check, err)
	case have >= queueWant:
		p.ok(check, "%s is %d", name, have)
	case os.Geteuid() == 0:
		p.add(Note, check, set(name, queueWant), "%s is %d: sersync raises it to %d as root, until the next boot", name, have, queueWant)
	default:
		p.add(Warning, check, set(name, queueWant), "%s is %d: a burst of changes costs a look at the whole tree", name, have)
	}
}

// openFiles is the line of /proc/PID/limits: soft and hard limit.
var openFiles = regexp.MustCompile(`(?m)^Max open files +(\S+) +(\S+)`)

func (e *examination) files(p *Part) {
	want := filesBase + e.need.sources*filesSource + e.need.targets*filesTarget
	var own unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &own) // it cannot fail for ourselves
	have, whose := own.Max, "of this shell, ulimit -Hn,"
	if e.Running != nil {
		text, _ := e.read(fmt.Sprintf("%d/limits", e.Running.PID))
		if m := openFiles.FindSubmatch(text); m != nil {
			if n, err := strconv.ParseUint(string(m[2]), 10, 64); err == nil {
				have, whose = n, "of the daemon"
			}
		}
	}
	remedy := fmt.Sprintf("a service: LimitNOFILE=%d in its unit; a shell: ulimit -Hn %d, or nofile in /etc/security/limits.conf", 2*want, 2*want)
	if have < uint64(want) {
		p.add(Problem, "open_files", remedy, "the limit of open files %s is %d, up to %d are needed", whose, have, want)
	} else {
		p.ok("open_files", "the limit of open files %s is %d, up to %d are needed", whose, have, want)
	}
	text, err := e.read("sys/fs/file-nr")
	var taken, free, all int
	if err == nil {
		_, err = fmt.Sscan(string(text), &taken, &free, &all)
	}
	switch {
	case err != nil:
		unreadable(p, "file-max", fmt.Errorf("read limit %q: %w", "fs.file-max", err))
	case all-taken < want:
		p.add(Problem, "file-max", set("fs.file-max", 2*all), "fs.file-max is %d, of which %d are taken, and up to %d are needed", all, taken, want)
	default:
		p.ok("file-max", "fs.file-max is %d, of which %d are taken", all, taken)
	}
}

// fanotify needs one group and one mark a source.
func (e *examination) fanotify(p *Part) {
	groups, err1 := e.sysctl("fs.fanotify.max_user_groups")
	marks, err2 := e.sysctl("fs.fanotify.max_user_marks")
	queue, err3 := e.sysctl("fs.fanotify.max_queued_events")
	switch {
	case err1 != nil || err2 != nil || err3 != nil:
		p.add(Note, "fanotify", "", "the limits of fanotify cannot be read: the kernel is older than 5.13, or has none")
	case groups < e.need.sources:
		p.add(Warning, "fanotify", set("fs.fanotify.max_user_groups", powerOfTwo(e.need.sources+64)), "fs.fanotify.max_user_groups is %d, for %s", groups, plural(e.need.sources, "source"))
	case marks < e.need.sources:
		p.add(Warning, "fanotify", set("fs.fanotify.max_user_marks", powerOfTwo(e.need.sources+64)), "fs.fanotify.max_user_marks is %d, for %s", marks, plural(e.need.sources, "source"))
	default:
		p.ok("fanotify", "fs.fanotify.max_user_groups is %d, max_user_marks %d, max_queued_events %d", groups, marks, queue)
	}
}
