package replicate

import (
	"fmt"
	"time"

	"sersync/internal/change"
)

// Reload takes new options while Run goes on: filter, switches, targets added, changed and
// removed. A target whose Name and Identity are what they were is not disturbed, and the transport that the new
// options hold for it is closed unused. Name and Path must be the same. A changed target keeps what it is owed.
func (s *Source) Reload(opts Options) error {
	opts, err := opts.complete()
	if err != nil {
		return err
	}
	old := s.options()
	if opts.Name != old.Name || opts.Path != old.Path {
		return fmt.Errorf("reload source %q: its name or path changed", old.Name)
	}
	before := map[string]TargetOptions{}
	for _, t := range old.Targets {
		before[t.Name] = t
	}
	var fresh []TargetOptions
	for i, t := range opts.Targets {
		was, known := before[t.Name]
		if !known || was.Identity != t.Identity {
			fresh = append(fresh, t)
			continue
		}
		t.Transport.Close()
		opts.Targets[i] = was
		delete(before, t.Name)
	}
	// What is left in before is stopped: changed or removed. It stays in its place until then, so that
	// nobody takes what it is owed for sent.
	for name := range before {
		s.stop(name)
	}
	s.exchanging.Lock()
	defer s.exchanging.Unlock()
	x, err := s.swap(opts, fresh, before)
	if err != nil {
		return err
	}
	for name := range before {
		if !hasTarget(opts, name) {
			s.journal.Drop(name)
			s.journal.DropFacts(func(fact string) bool { return fact == verifiedFact+name })
		}
	}
	s.exchangeTellers(x)
	if sess := s.session(); sess != nil {
		sess.observer.SetFilter(opts.Filter)
		// What the old filter dropped and the new one keeps is new to the index.
		sess.walks.add(change.Root, time.Now())
		sess.users.Done()
	}
	return nil
}

// swap puts the options in place, and starts the senders that are fresh.
func (s *Source) swap(opts Options, fresh []TargetOptions, before map[string]TargetOptions) (x exchange, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		for _, t := range fresh {
			t.Transport.Close()
		}
		return x, errStopped
	}
	s.opts = opts
	if s.ctx != nil { // or else Run does it
		x = s.planTellers(opts)
	}
	gates := map[string]*gate{}
	for name := range before {
		if r := s.senders[name]; r != nil {
			gates[name] = r.sender.gate // it may be paused
		}
		delete(s.senders, name)
	}
	for _, t := range fresh {
		if s.ctx == nil {
			continue
		}
		_, changed := before[t.Name]
		g := gates[t.Name]
		if g == nil {
			g = newGate()
		}
		s.fillNew(t.Name)
		s.start(t, opts.Initial && !changed, g)
	}
	for _, r := range s.senders {
		poke(r.sender.replan)
		poke(r.sender.reverify)
	}
	return x, nil
}

func hasTarget(o Options, name string) bool {
	for _, t := range o.Targets {
		if t.Name == name {
			return true
		}
	}
	return false
}

// stop stops one sender at once; what is in flight is owed again.
func (s *Source) stop(name string) {
	s.mu.Lock()
	r := s.senders[name]
	s.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}
