package doctor

import (
	"errors"
	"time"

	"sersync/internal/transport"
)

// probed says what came of a Probe.
func probed(p *Part, r transport.Probed, err error) {
	if r.Left != nil {
		p.add(Problem, "probe_left", "remove "+r.Name+" there by hand", "the file of the probe may still be there: %v", r.Left)
	}
	var state *transport.Error
	switch {
	case errors.As(err, &state) && state.Kind == transport.RemovalsRefused:
		p.add(Warning, "write", remedyOf(err), "not probed: %v", err)
		return
	case err != nil:
		refused(p, "write", err)
		return
	}
	p.ok("write", "a file was written, and removed again")
	clocks(p, r)
	stored(p, r)
}

const (
	// tick is by how much the stamp of a file is behind the clock that it is taken from, at the most.
	tick = 20 * time.Millisecond
	// clockTolerance is the difference of two clocks that is no matter.
	clockTolerance = 2 * time.Second
)

// ahead is by how much the clock there is before ours, from low to high: it gave stamp, which lacks the part of the second, to a
// file that was written between before and after of ours.
func ahead(before, after, stamp time.Time) (low, high time.Duration) {
	return stamp.Sub(after), stamp.Add(time.Second + tick).Sub(before)
}

func clocks(p *Part, r transport.Probed) {
	if r.NoStamp != nil {
		p.add(Note, "clocks", "", "the clock there is not known: %v", r.NoStamp)
		return
	}
	low, high := ahead(r.Before, r.After, r.Stamp)
	off := (low + high) / 2
	direction, least := "ahead of", low
	if off < 0 {
		direction, off, least = "behind", -off, -high
	}
	within := ((high - low) / 2).Round(100 * time.Millisecond)
	switch {
	case least <= 0:
		p.ok("clocks", "the clocks agree, to within %v", max(high, -low).Round(100*time.Millisecond))
	case least <= clockTolerance:
		p.add(Note, "clocks", "", "the clock there is %v %s ours, give or take %v", off.Round(100*time.Millisecond), direction, within)
	default:
		p.add(Warning, "clocks", "keep both by chronyd or systemd-timesyncd", "the clock there is %v %s ours, give or take %v", off.Round(time.Second), direction, within)
	}
}

// stored says which attributes the target keeps.
func stored(p *Part, r transport.Probed) {
	const disk = "use a file system there that stores nanoseconds, as ext4, xfs, btrfs or zfs do"
	switch r.Times {
	case transport.Nanoseconds:
		p.ok("times", "times are stored to the nanosecond")
	case transport.Seconds:
		p.add(Warning, "times", disk, "times are stored in whole seconds: each comparison takes files for changed that are not, and sends them again")
	case transport.Coarse:
		p.add(Warning, "times", disk, "times are stored more coarsely than in seconds: each comparison takes files for changed that are not, and sends them again")
	}
	if r.Modes == transport.Lost {
		p.add(Warning, "modes", "use a file system there that stores modes, and no \"incoming chmod\" in the daemon's module", "modes are not stored as they are")
	} else {
		p.ok("modes", "modes are stored")
	}
	switch r.Owners {
	case transport.Stored:
		p.ok("owners", "owner and group are stored")
	case transport.Lost:
		p.add(Note, "owners", "let the rsync there run as root, or set \"fake super = yes\" in its rsyncd.conf; in the module of a receiver set uid = root", "owner and group are not stored")
	default:
		p.add(Note, "owners", "sudo sersync doctor --probe", "whether owners are stored can only be asked by root")
	}
}
