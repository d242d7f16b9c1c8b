// Package hook tells others of what happened, as the plugins of sersync 2.5.4 did: it is the last step of the path of one
// change, after the ack. What is to be told stands in a durable queue (internal/journal); internal/replicate takes it from there
// in batches, hands it to a Hook, and settles what came of it.
package hook

import (
	"context"
	"time"

	"sersync/internal/change"
)

// Kind is what an event is about.
type Kind string

const (
	// Acked: paths that one target has acked.
	Acked Kind = "acked"
	// AllTargetsAcked: paths that every target has acked, or that Missing still lack after the limit of the hook. In a source
	// without targets: paths that were marked.
	AllTargetsAcked Kind = "all-targets-acked"
	// Failed: paths that one target did not take, each told when it failed first and when it became a dead letter.
	Failed Kind = "failed"
	// TargetDown and TargetUp: a target does not take changes, or takes them again.
	TargetDown Kind = "target-down"
	TargetUp   Kind = "target-up"
	// DeletesHeld: a brake holds removals of the source.
	DeletesHeld Kind = "deletes-held"
	// Behind: the oldest change that a target does not have is older than it should be.
	Behind Kind = "behind"
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{Acked, AllTargetsAcked, Failed, TargetDown, TargetUp, DeletesHeld, Behind}
}

// OfPaths reports whether events of the kind have paths. The others are about a state.
func (k Kind) OfPaths() bool { return k == Acked || k == AllTargetsAcked || k == Failed }

// What is what happened to a path.
type What string

const (
	// Updated: it is there as it was at the source.
	Updated What = "updated"
	// Removed: it is gone there.
	Removed What = "removed"
	// NotTaken: it failed.
	NotTaken What = "failed"
	// Many: the queue was full, so that it is only known that something happened at or below the path.
	Many What = "many"
)

// Path is one path of an event.
type Path struct {
	Path change.Path
	What What
	// Dir: it is or was a directory.
	Dir bool
	// Since is when the change was noticed.
	Since time.Time
	// Error is why it failed, so many Tries ago; Dead says that it is a dead letter. Of NotTaken only.
	Error string
	Tries int
	Dead  bool
}

// Event is what is told in one go.
type Event struct {
	// ID is that of the content: an event that is told again as it was has the same. What failed may be told again together with
	// other paths, in another event.
	ID string
	// Hook is the name of the hook that is told, Source that of the source, Root its directory.
	Hook   string
	On     Kind
	Source string
	Root   string
	// Target is whom it is about; empty for AllTargetsAcked and DeletesHeld.
	Target string
	// Targets are those that have acked all the paths, Missing those that have not. Of AllTargetsAcked only.
	Targets, Missing []string
	// Time is when it is told.
	Time time.Time
	// Paths are never empty for a kind that has paths.
	Paths []Path
	// State is that of the target (TargetDown, TargetUp, Behind) or the name of the brake (DeletesHeld), since Since. Error and
	// Hint say why, Lag how old the oldest change is that the target does not have, Waiting how many paths it is owed (of
	// DeletesHeld: how many removals are held).
	State       string
	Since       time.Time
	Error, Hint string
	Lag         time.Duration
	Waiting     int
	// Test says that somebody tries the hook, and nothing has happened.
	Test bool
}

// Hook tells somebody. It is safe for concurrent use.
//
// An error says that it is not known to have been told: the same event, or one that has its paths among others, is told again
// later. So a hook is told at least once, and of each path in the order of what happened to it. Tell returns soon after ctx
// ends, which bounds it in time; it leaves no process and no connection behind.
type Hook interface {
	Tell(ctx context.Context, e Event) error
}
