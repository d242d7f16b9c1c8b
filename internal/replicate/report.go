package replicate

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"sersync/internal/transport"
)

// limitsMax bounds the list of what a target cannot store.
const limitsMax = 20

// report gathers what there is to say of a target: one log line for each change of its state.
type report struct {
	log *slog.Logger
	mu  *sync.Mutex
	// s is the part of the status that is kept here.
	s *TargetStatus
	// since is when the target did not take what it was given for the first time since it took something; zero while it does.
	since *time.Time
	// told is when it was said last that single paths fail.
	told *time.Time
}

// tellEvery is how often it is said that single paths fail, at the most.
const tellEvery = time.Minute

func newReport(log *slog.Logger) report {
	return report{log: log, mu: new(sync.Mutex), s: &TargetStatus{State: "idle", Since: time.Now(), RunsFailed: map[string]uint64{}}, since: new(time.Time), told: new(time.Time)}
}

func (r report) status() TargetStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := *r.s
	s.Limits = append([]string{}, s.Limits...)
	s.RunsFailed = maps.Clone(s.RunsFailed)
	return s
}

func (r report) sending() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s.State == "idle" {
		r.s.State = "sending"
	}
}

// sent is a batch that the target took.
func (r report) sent(report transport.Report, run *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.since = time.Time{}
	r.s.Runs++
	r.s.Files += uint64(report.Files)
	r.s.Bytes += uint64(report.Bytes)
	if run.removes() {
		r.s.Removed += uint64(len(run.items) - len(report.Failed))
	}
	if run.removes() || r.s.State != transport.RemovalsRefused.String() {
		r.idle()
	}
	for _, f := range report.Failed {
		r.failure(f.Err.Error(), "")
	}
	if len(report.Failed) > 0 && time.Since(*r.told) >= tellEvery {
		*r.told = time.Now()
		r.log.Warn("paths failed, they are tried again", "paths", len(report.Failed), "error", report.Failed[0].Err, "hint", "see: sersync failed list")
	}
	for _, l := range report.Limits {
		r.limit(l.Err.Error())
	}
}

// compared is a comparison that came to its end: the target can be reached and lets us in. It says nothing of whether it
// takes anything.
func (r report) compared() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.s.State {
	case transport.Away.String(), transport.Busy.String(), transport.Refused.String(), transport.Misconfigured.String(), transport.SourceGone.String():
		r.idle()
	}
}

// idle is the state of a target that took what it was given. That it takes updates does not say that it
// takes removals again.
func (r report) idle() {
	if r.s.NextTry != nil {
		r.log.Info("target recovered", "state", r.s.State, "errors", r.s.LastError.Count, "since", r.s.LastError.Since)
		r.s.NextTry = nil
		r.s.Since = time.Now()
	}
	r.s.State = "idle"
	*r.since = time.Time{}
}

// downSince is since when the target does not take updates, the zero time when it does; tried says that anybody knows.
func (r report) downSince() (since time.Time, tried bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.since, r.s.Runs > 0
}

// down reports whether the target did not take the last that it was given, removals that it refuses aside.
func (r report) down() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s.NextTry != nil && r.s.State != transport.RemovalsRefused.String()
}

func (r report) limit(text string) {
	for _, known := range r.s.Limits {
		if known == text {
			return
		}
	}
	if len(r.s.Limits) < limitsMax {
		r.s.Limits = append(r.s.Limits, text)
		r.log.Warn("the target cannot store everything", "limit", text)
	}
}

// failed is a batch or sweep that the target did not take. next is when it is tried again.
func (r report) failed(te *transport.Error, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := te.Kind.String()
	r.s.Runs++
	r.s.RunsFailed[state]++
	if r.s.State != state {
		r.log.Warn("target does not take changes", "state", state, "error", te.Err, "hint", te.Hint)
		r.s.Since = time.Now()
	}
	r.s.State = state
	r.s.NextTry = &next
	if te.Kind != transport.RemovalsRefused && r.since.IsZero() {
		*r.since = time.Now()
	}
	r.failure(te.Err.Error(), te.Hint)
}

// incomplete is a comparison that failed for a reason of its own. Batches go through all the same, so it says nothing of
// the state of the target.
func (r report) incomplete(te *transport.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Runs++
	r.s.RunsFailed[te.Kind.String()]++
	if e := r.s.LastError; e == nil || e.Text != te.Err.Error() {
		r.log.Warn("a comparison failed, it is tried again", "error", te.Err)
	}
	r.failure(te.Err.Error(), te.Hint)
}

func (r report) failure(text, hint string) {
	now := time.Now()
	if e := r.s.LastError; e != nil && e.Text == text {
		again := *e
		again.Last, again.Count = now, e.Count+1
		r.s.LastError = &again
		return
	}
	r.s.LastError = &LastError{Text: text, Hint: hint, Since: now, Last: now, Count: 1}
}
