// Package replicate is one source and its targets: the intake, which turns events into marks;
// a sender for each target; sweeps, retry, brakes, status.
package replicate

import (
	"log/slog"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/scan"
	"sersync/internal/transport"
	"sersync/internal/watch"
)

// Options are all that one source needs to know. The zero value of a duration or bound is its default.
type Options struct {
	// Name names the source in logs, status and metrics.
	Name string
	// Path is the root directory; absolute.
	Path string
	// StateDir is the directory in which the journal is kept; empty for in memory alone.
	StateDir string
	// NewWatcher makes the watcher of an opened root. It is called again when the root was
	// replaced.
	NewWatcher func(*scan.Root) (watch.Watcher, error)
	Filter     *filter.Filter
	// Initial sweeps every target once at the start (sersync -r).
	Initial bool
	// Fill sends everything to a target that the journal does not know yet, also at the first start, and removes nothing
	// there.
	Fill bool
	// SweepEvery sweeps each target again, so long after the end of its last sweep, or after its start; 0 is never.
	SweepEvery time.Duration
	// SweepAt sweeps all targets when it is due; nil is never. A target whose last sweep is not done yet is left out.
	SweepAt Schedule
	// Verify is when all targets are verified in the background.
	Verify VerifyOptions
	// NoRemovals never removes anything on a target, sweeps included (<delete start="false">).
	NoRemovals bool
	// RemovalBudget is by how much the source may shrink before its removals are held.
	RemovalBudget RemovalBudget
	// Events are switches of 2.5.4 that drop kinds of events; the zero value drops nothing.
	Events Events
	// MoveLeast is how much has to be below a directory that was renamed, in bytes (a name counts as 4 KiB), to have targets move it:
	// less is sent sooner. Default 1 MiB.
	MoveLeast int64
	// MoveFileLeast is how large a file that was renamed has to be for targets to move it. What goes with its entry (wire.MaxInline) takes no
	// more round trips than a move. Default 128 KiB.
	MoveFileLeast int64
	// CloseWait is how long a new file may stay open before it is sent all the same. Default 1 s.
	CloseWait time.Duration
	// QuietWait is how long a file that is written and not closed must be quiet. Default 5 s.
	QuietWait time.Duration
	// OpenMax is how long a file that is written and never quiet waits at the most. Default 1 min.
	OpenMax time.Duration
	// GapEvery is how often what cannot be watched is looked at. Default 30 s.
	GapEvery time.Duration
	// Runs bounds the batches that are on their way at one time; shared by all sources. Nil is no bound. A sweep,
	// one a target at the most, is not counted: it waits for batches.
	Runs chan struct{}
	// Targets are where to replicate to; at least one, unless there are hooks.
	Targets []TargetOptions
	// Hooks are told of what happened.
	Hooks []HookOptions
	// OnBatch, when not nil, is called after each batch, acked or failed. It is called by the senders, so
	// by several goroutines at the same time, and a sender waits for its return.
	OnBatch func(BatchDone)
	Log     *slog.Logger
}

// BatchDone is one batch that was handed to a transport, and what became of it.
type BatchDone struct {
	Source string
	Target string
	Op     transport.Op
	// Paths are those of the batch, the failed ones too.
	Paths []change.Path
	// Files and Bytes are those of the transport's report.
	Files int
	Bytes int64
	// Took is the time from the batch's start to its ack.
	Took time.Duration
	// Failed are the paths of a batch that was acked which the target did not take.
	Failed []transport.Failure
	// Err is why the batch as a whole failed; nil when it was acked, be it in parts.
	Err error
	// Oldest is when the oldest change of the batch was noticed.
	Oldest time.Time
}

// Events drop kinds of events, as the inotify switches of 2.5.4 do with strict="true".
type Events struct {
	NoCreateFile, NoCreateFolder, NoCloseWrite, NoMoveFrom, NoMoveTo, NoAttrib bool
	// Modify sends a file at each write, without waiting for its close.
	Modify bool
}

// TargetOptions are all that the sender of one target needs to know.
type TargetOptions struct {
	// Name names the target in logs, status and metrics; unique within the source. It is
	// the URL without secrets.
	Name      string
	Transport transport.Transport
	// Identity changes when anything of the target's configuration changes, and with it the
	// Transport must be another. A reload keeps a target of the same Name and Identity as it is.
	Identity string
	// Pace is the time from the start of one batch to the start of the next while changes keep coming. The
	// first few batches after a pause are not delayed. Default 40 ms; negative is none.
	Pace time.Duration
	// Quiet delays every batch until nothing was marked for so long. Default 0.
	Quiet time.Duration
	// Large is the size in bytes from which a file goes in the lane of large files. Default 64 MiB.
	Large int64
	// SweepExclude are patterns of the transport's own kind that bind sweeps and verifications of everything only, not the comparison of
	// a single directory in which something happened.
	SweepExclude []string
	// DeadAfter is how many times a path fails before it is a dead letter. Default 12.
	DeadAfter int
	// TrashDays is for how many days the target keeps what was removed; 0 is for ever, or that it keeps nothing.
	TrashDays int
	// Settle is how long what was in flight may still be at work over there when we are killed. Default 200 s.
	Settle time.Duration
}
