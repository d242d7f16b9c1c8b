package rsync

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"sersync/internal/transport"
)

// diagnoseEvery is how often a connection that was cut is asked for the reason.
const diagnoseEvery = time.Minute

// dialect is what was learned of the two rsyncs.
type dialect struct {
	here string // version of this side; empty until it was asked for
	// old: one of the two is older than 3.1.3. Once found it stays, for it works with newer ones too.
	old bool
	// diagnosed is when a cut was last asked for its reason, for updates and for removals.
	diagnosed map[line]time.Time
}

// old reports whether one of the two rsyncs is known to be older than 3.1.3.
func (t *Transport) old() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dialect.old
}

// learnHere asks the rsync of this side for its version, once.
func (t *Transport) learnHere(ctx context.Context, s *spawner) error {
	t.mu.Lock()
	known := t.dialect.here != ""
	t.mu.Unlock()
	if known {
		return nil
	}
	path, err := exec.LookPath(t.o.Program)
	if err != nil {
		return startError(err)
	}
	out, err := t.output(ctx, s, t.o.env(), path, "--version")
	if ctx.Err() != nil {
		return fmt.Errorf("ask %q for its version: %w", path, ctx.Err())
	}
	if err != nil {
		return &transport.Error{Kind: transport.Misconfigured, Hint: hintInstall, Err: fmt.Errorf("ask %q for its version: %w", path, err)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dialect.here = versionOf(out)
	t.dialect.old = t.dialect.old || older(t.dialect.here, 3, 1, 3)
	return nil
}

// diagnose finds out why a daemon cut the connection. rsync may not say: it can meet the reset before it
// reads the reason. A dry run of an empty list meets the same refusal. again says that the reason is mended: the
// other side is an older rsync, which does not know an option. usedOld is the dialect of the run.
func (t *Transport) diagnose(ctx context.Context, l line, s *spawner, e ending, usedOld bool) (again bool, reason error) {
	if e.code = e.trueCode(); e.code != exitSocket && e.code != exitStream || !e.began || e.cause != nil || e.unconnected() {
		return false, nil
	}
	p := probe
	if l.removes() {
		p = probeRemovals
	}
	p |= l & trashing
	ask, old := t.mayDiagnose(p)
	if old && !usedOld {
		return true, nil // another run has found it out
	}
	if !ask {
		return false, nil
	}
	asked := func() error { return t.probe(ctx, s, p, old) }
	err := asked()
	if err != nil && !old {
		var isOld bool
		if isOld, err = alwaysCut(err, asked, func() error { return t.probe(ctx, s, p, true) }); isOld {
			t.mu.Lock()
			t.dialect.old = true
			t.mu.Unlock()
			t.o.Log.Warn("target has an rsync older than 3.1.3: changes are compared by content")
			return true, nil
		}
	}
	var state *transport.Error
	if err != nil && p != probe {
		var refused bool
		if refused, err = alwaysCut(err, asked, func() error { return t.probe(ctx, s, probe, old) }); refused {
			if errors.As(err, &state) && state.Kind == transport.RemovalsRefused {
				return false, state
			}
			return false, &transport.Error{Kind: transport.RemovalsRefused, Hint: t.hintRefused(), Err: e.err()}
		}
	}
	if errors.As(err, &state) && state.Kind != transport.Away && state.Kind != transport.Broken {
		return false, state
	}
	return false, nil
}

// cutProbes is how often a probe has to fail, and one without what is asked for to succeed right after it, until the other
// side is taken to cut it: a single failure may be a daemon that was started anew.
const cutProbes = 3

// alwaysCut reports whether the other side cuts each probe that asks and no plain one. failed is how the first one failed; err
// is how the last one did, of either kind, and nil when that was the last.
func alwaysCut(failed error, asked, plain func() error) (always bool, err error) {
	for range cutProbes - 1 {
		if err := plain(); err != nil {
			return false, err
		}
		if failed = asked(); failed == nil {
			return false, nil
		}
	}
	if err := plain(); err != nil {
		return false, err
	}
	return true, failed
}

// mayDiagnose reports whether it is time to ask again, and the present dialect.
func (t *Transport) mayDiagnose(p line) (ask, old bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ask = time.Since(t.dialect.diagnosed[p]) >= diagnoseEvery; ask {
		if t.dialect.diagnosed == nil {
			t.dialect.diagnosed = map[line]time.Time{}
		}
		t.dialect.diagnosed[p] = time.Now()
	}
	return ask, t.dialect.old
}
