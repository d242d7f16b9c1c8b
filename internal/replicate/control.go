package replicate

import (
	"fmt"
	"slices"
	"time"

	"sersync/internal/change"
)

// Sweep compares the named targets with the source, all when none is named: once, as soon as they can be. It does not wait
// for that; Wait does.
func (s *Source) Sweep(targets ...string) error {
	return s.each("sweep", targets, (*sender).sweepAll)
}

// Pause sends nothing to the named targets any more, to all when none is named, once what is in flight is done. What
// changes is owed to them. It lasts until Resume, also when the options of the target change, and not beyond a restart.
func (s *Source) Pause(targets ...string) error {
	return s.each("pause", targets, func(r *sender) {
		if r.gate.pause() {
			r.log.Info("target paused")
		}
	})
}

// Resume ends a Pause of the named targets, of all when none is named.
func (s *Source) Resume(targets ...string) error {
	return s.each("resume", targets, func(r *sender) {
		if r.gate.resume() {
			r.log.Info("target resumed")
		}
	})
}

// RetryAll tries everything again that failed, on all targets, without waiting for its time.
func (s *Source) RetryAll() {
	for _, r := range s.running() {
		r.sender.owed.Retry()
	}
}

// each does something with the senders of the named targets.
func (s *Source) each(what string, targets []string, do func(*sender)) error {
	if err := s.know(what, targets); err != nil {
		return err
	}
	for _, r := range s.running() {
		if len(targets) == 0 || slices.Contains(targets, r.sender.opts.Name) {
			do(r.sender)
		}
	}
	return nil
}

// know returns an error when one of the targets is not there.
func (s *Source) know(what string, targets []string) error {
	opts := s.options()
	for _, name := range targets {
		if !hasTarget(opts, name) {
			return fmt.Errorf("%s target %q: source %q has no such target", what, name, opts.Name)
		}
	}
	return nil
}

// sweepAll owes the target a comparison of everything.
func (s *sender) sweepAll() {
	s.owed.Owe(change.Mark{Path: change.Root, Since: time.Now(), Bits: change.Tree | change.Extras})
}
