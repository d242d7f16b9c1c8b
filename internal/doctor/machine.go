package doctor

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/confine"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync"
)

// machine looks at what every configuration needs here.
func (e *examination) machine(ctx context.Context) Part {
	p := Part{Kind: "machine"}
	if os.Geteuid() != 0 {
		p.add(Note, "user", "sudo sersync doctor sees the rest", "not run by root: what only root can read was not seen, nor a daemon of root's")
	}
	rsyncHere(ctx, &p)
	landlock(&p)
	e.clock(&p, time.Now())
	return p
}

func rsyncHere(ctx context.Context, p *Part) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	program, err := rsync.Installed(ctx)
	if err != nil {
		p.add(Problem, "rsync", remedyOf(err), "rsync cannot be used: %v", err)
		return
	}
	version := program.Version
	if version == "" {
		version = "of an unknown version"
	}
	if len(program.Lacks) == 0 {
		p.ok("rsync", "rsync %s at %s", version, quote(program.Path))
	}
	for _, lack := range program.Lacks {
		p.add(Warning, "rsync", "install a newer one", "rsync %s at %s is too old: %s", version, quote(program.Path), lack)
	}
}

// Versions of landlock that bring what the confinement of rsync has a use for; landlock(7).
const (
	landlockTruncate = 3
	landlockIoctl    = 5
)

func landlock(p *Part) {
	const remedy = "use a kernel 5.13 or newer with landlock among its security modules (lsm= of the kernel's command line), and let a container's seccomp profile allow it"
	abi, err := confine.ABI()
	switch {
	case err != nil:
		p.add(Warning, "landlock", remedy,
			"rsync is not confined to the source (%v): who can write in a source may have files of elsewhere sent", err)
	case abi < landlockTruncate:
		p.add(Note, "landlock", "", "landlock ABI %d: reading is confined; that rsync cuts off files elsewhere is not kept from it before ABI %d", abi, landlockTruncate)
	case abi < landlockIoctl:
		p.ok("landlock", "landlock ABI %d: rsync is confined to the source (but for ioctls of devices, which ABI %d adds)", abi, landlockIoctl)
	default:
		p.ok("landlock", "landlock ABI %d: rsync is confined to the source", abi)
	}
}

// built is a day before which no sersync of this kind was made.
var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock finds a clock that is obviously wrong.
func (e *examination) clock(p *Part, now time.Time) {
	const remedy = "set the clock, and keep it by chronyd or systemd-timesyncd"
	stamp := now.Format("2006-01-02 15:04:05 -0700")
	var written time.Time
	if info, err := os.Stat(e.File); err == nil {
		written = info.ModTime()
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case now.Before(built):
		p.add(Problem, "clock", remedy, "the clock says %s, which is before this program was made", stamp)
	case written.After(now.Add(24 * time.Hour)):
		p.add(Warning, "clock", remedy, "the clock says %s, and the configuration was written at %s", stamp, written.Format("2006-01-02 15:04:05 -0700"))
	case err == nil && state == unix.TIME_ERROR:
		p.add(Note, "clock", "keep it by chronyd or systemd-timesyncd", "the clock says %s; nothing keeps it right, as far as the kernel knows", stamp)
	default:
		p.ok("clock", "the clock says %s", stamp)
	}
}

// remedyOf is what to do about an error of a target, from who classified it.
func remedyOf(err error) string {
	kind, hint := classOf(err)
	if hint != "" {
		return hint
	}
	switch kind {
	case transport.Away:
		return "see that the daemon (rsyncd or sshd) runs there at this port, and that no firewall stands between"
	case transport.Full:
		return "make room there, or raise the quota"
	case transport.ReadOnly:
		return "mount the file system there for writing, and see why it was not"
	case transport.Busy:
		return "raise \"max connections\" of the daemon's module"
	}
	return "see the log of rsync there"
}
