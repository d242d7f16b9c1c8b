// Package transport is the step of the path of a change that puts it onto a target:
// the contract, and its conformance suite in transporttest. The implementations are below it.
package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"sersync/internal/change"
)

// Op is what one batch does. A batch does one thing only, so that an update can never
// remove and a removal was decided path by path.
type Op uint8

const (
	// Update sends the present state of each path: regular files by size and mtime to the
	// nanosecond, whatever the target's time is. A directory is sent without its content.
	// What is in the way on the target (a file for a directory, or the reverse) is replaced, unless Keep is set.
	// A path that is missing at the source by now is left as it is on the target. The directories above
	// each path go along: afterwards their attributes are those of the source, as far as the target can store them.
	Update Op = iota
	// UpdateContent is Update, but what is equal in size and mtime is compared by content.
	UpdateContent
	// UpdateLarge is Update for large files: a cut leaves what arrived on the target, and
	// the next UpdateLarge of the path goes on from there.
	UpdateLarge
	// UpdateLargeContent is UpdateLarge, but what is equal in size and mtime is compared by content.
	UpdateLargeContent
	// Remove removes each path, directories with all that is in them. Each was seen to be
	// missing at the source; its parent was there.
	Remove
	// RemoveExact removes exactly the listed paths, in the order children before parents; a directory
	// only when it is empty by then. One that is not empty is left, and that is no failure.
	// Parents of a path may be missing at the source. Used where a filter protects names.
	RemoveExact
)

func (o Op) String() string {
	return [...]string{"update", "update-content", "update-large", "update-large-content", "remove", "remove-exact"}[o]
}

// Batch is what is handed to a transport at one time.
type Batch struct {
	Op Op
	// Root is the open root directory of the source, which the sender has just checked. The
	// transport reads below it and nowhere else. It stays open until Apply has returned.
	Root *os.File
	// Paths are all different, in no order. The root itself (change.Root) may be among those
	// of an update: its own attributes.
	Paths []change.Path
	// Seen is what the sender saw at Paths when it looked, in their order; nil when that is not known. It may be something else by now.
	Seen []Seen
	// Seq is the number of the newest change that had happened when the batch was made, and Reads keeps what is read of the source for
	// the targets that want it too. It may be nil. Who takes from it keeps to its rules.
	Seq   uint64
	Reads *Reads
	// Keep changes an update: a directory of the target that is not empty does not make way for something
	// else, and the path fails. Nothing is ever removed by such a batch.
	Keep bool
	// Progress, when not nil, is called now and then while an UpdateLarge runs, with the
	// bytes of the batch that are on the target.
	Progress func(bytes int64)
}

// Seen is one path as the sender saw it.
type Seen struct {
	Stat change.Stat
	// Link is another name of a regular file, under which the target has it as it is to be here, as far as is known. Empty when none is known.
	Link change.Path
	// Seq is the number of the newest change of the path that is to be sent.
	Seq uint64
}

// Report says what a batch did. Every path of the batch that is not in Failed is acked.
type Report struct {
	// Failed are the paths that are not as they should be on the target.
	Failed []Failure
	// Limits are paths that are acked although the target could not store all of them (an
	// owner, a time it may not set): trying again cannot help.
	Limits []Failure
	// Changed are the paths of the batch of which anything was changed on the target, in no order.
	Changed []change.Path
	// Files is how many files were sent, and Bytes how much went over for them: of a file that was there in part only
	// what differs, and some bytes for each file besides its content.
	Files int
	Bytes int64
}

// Failure is one path and why it is not as it should be.
type Failure struct {
	Path change.Path
	// Retry says whether trying again can help without anybody doing anything.
	Retry bool
	Err   error
}

// Kind is the state of a target that an Error speaks of.
type Kind uint8

const (
	// Broken is any failure that no other kind names. Trying again may help.
	Broken Kind = iota
	// Away: no connection, or the connection was cut, or nothing came for the time-out.
	Away
	// Busy: the target has as many connections as it allows.
	Busy
	// Full: no space or no quota left.
	Full
	// ReadOnly: the module or its file system cannot be written.
	ReadOnly
	// Refused: the login or our address was refused, or there is no such module.
	Refused
	// RemovalsRefused: updates work, removals are refused by the target.
	RemovalsRefused
	// Misconfigured: our own side is wrong (no rsync, no password file, an option it does
	// not know): a person must act.
	Misconfigured
	// SourceGone: the root of the source could not be read.
	SourceGone
)

func (k Kind) String() string { return Kinds()[k] }

// Kinds are the names of all kinds, in their order.
func Kinds() []string {
	return []string{"broken", "away", "busy", "full", "read-only", "refused", "removals-refused", "misconfigured", "source-gone"}
}

// Error is a failure of a whole batch or sweep: a state of the target, not of its paths. No
// path of the batch is acked.
type Error struct {
	Kind Kind
	// Unclean says that the other side may still be at work on the batch, and may put an
	// older state of a path in place later. Its paths are owed twice: at once, and again
	// after Settle.
	Unclean bool
	Settle  time.Duration
	// Lost says that the directory of the target could not be entered: what is in it when it can be is not known.
	Lost bool
	// Hint is what a person can do about it; empty when nothing.
	Hint string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("target %s: %v", e.Kind, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Short is the Error of something for which this side had no descriptor, process or memory left; nil for any other err.
func Short(err error) *Error {
	for _, limit := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM} {
		if errors.Is(err, limit) {
			return &Error{
				Kind: Misconfigured, Err: err,
				Hint: "raise the limits of open files and processes, for sersync (LimitNOFILE of its service, ulimit -n) or for the machine (sysctl fs.file-max)",
			}
		}
	}
	return nil
}

// Difference is one path in which a target differs from the source.
type Difference struct {
	Path change.Path
	// Extra: the target has it and the source has not. Missing: the reverse. With neither both have it, and it is not
	// the same.
	Extra, Missing bool
	Dir            bool
	// Size is the size of a regular file at the source.
	Size int64
}

// Sweep says what to compare.
type Sweep struct {
	Root *os.File
	// Under are the directories to compare with all that is below them; the root when it is
	// change.Root. They exist at the source.
	Under []change.Path
	// Shallow compares the entries of these directories only. What the target has too much goes with all that is below it.
	Shallow bool
	// Extras asks for what the target has too much as well.
	Extras bool
	// Content compares what is equal in size and mtime by content, too.
	Content bool
	// Rate bounds how much content is read here for that, in bytes a second; 0 is no bound. rsync has no such bound.
	Rate int64
	// Exclude are rsync patterns for this sweep only.
	Exclude []string
}

// Facts is what a Check learned of a target.
type Facts struct {
	// Version of the program on this side, and protocol or version of the other one, as far
	// as it can be known.
	Here, There string
	// Limits are what the target cannot store or do, each one sentence with its remedy.
	Limits []string
}

// Transport puts batches onto one target.
//
// Apply and Sweep may be called at the same time, each of them by two goroutines, Apply
// with paths that do not touch each other; the caller sees to that. Both end soon after ctx is
// cancelled, and end what they started. An error is an *Error, or ctx.Err() wrapped when ctx ended it and
// the other side had nothing yet. Whether to try again is the caller's decision. Applying a batch twice is harmless.
// Close ends what is kept ready; nobody calls anything after it.
type Transport interface {
	Apply(ctx context.Context, b Batch) (Report, error)
	// Sweep compares and sends nothing. yield is called in one goroutine, in the order of
	// the comparison; while it blocks, the comparison waits. An error of yield ends the sweep and is returned.
	Sweep(ctx context.Context, s Sweep, yield func(Difference) error) error
	// Check connects and logs in, and changes nothing.
	Check(ctx context.Context) (Facts, error)
	Close() error
}

// Syncer is a Transport whose target says what is on its disk, and which opens what it sends by itself: beneath the root, following no link. When a
// connection ends before all is, the next batch fails, as Away, until Synced was asked.
type Syncer interface {
	Transport
	// Synced is a time: what was acked by batches that began before it is on the target's disk. It is now when all is. losses counts
	// the connections that ended so: what a batch acked that began when they were fewer may not be there, whatever the time says.
	Synced() (before time.Time, losses int)
	// Lost gets a value when there may be more losses.
	Lost() <-chan struct{}
}

// Move is a directory or a regular file that the source has at To by now, and that the target has at From.
type Move struct {
	From, To change.Path
	// File is what was seen of the file when it came to To, the zero Stat of a directory. What the target has at From is moved only when
	// its size and mtime are those of it; what it has at To makes way in one step, unless it is a directory.
	File change.Stat
	// Clear: the target may have something at To that is to go first, with all that is below.
	Clear bool
	// Known are the paths below To that the target has below From as the source has them. Nothing else there is to be taken over.
	Known []change.Path
	// Exact: below From the target may have what a filter drops, which stays where it is, and the directories that it is in. What was moved
	// away by copies need not be removed: that is owed path by path. Maybe are paths below To that the target may have below From or not, some
	// directories that are Known among them.
	Exact bool
	Maybe []change.Path
}

// Mover is a Transport that can move on the target what moved at the source.
type Mover interface {
	Transport
	// Move moves what is known of each From to To on the target, and removes From with all that is left there. Each From is the name
	// before any of the moves: one of them may be the To of another, which follows it then. No content is sent: what From has
	// otherwise than the source has it at To (by size and mtime), or not at all, is left out.
	// It says of each whether From is gone and its known paths were placed. One that was not done is no failure: the caller compares To
	// in any case. An error is that of Apply.
	Move(ctx context.Context, root *os.File, moves []Move) (done []bool, err error)
}

// Removed is something in the trash of a target.
type Removed struct {
	Day  string
	Path change.Path
	Dir  bool
	// Size is that of a regular file.
	Size int64
}

// Keeper is a Transport that can move what goes on the target to a trash there, with a directory for each day. Its methods may be
// called at the same time as all others, and end soon after ctx is cancelled.
type Keeper interface {
	Transport
	// Removed tells yield what the trash holds: of one day, or of all when day is empty, and at and below paths, or everywhere
	// when there are none. An error of yield ends it and is returned.
	Removed(ctx context.Context, day string, under []change.Path, yield func(Removed) error) error
	// Fetch brings paths of a day, with what is below them and the directories above them, into a directory that is empty.
	Fetch(ctx context.Context, into *os.File, day string, paths []change.Path) (Report, error)
	// Expire removes from the trash for good what was removed on days before that of a time, and returns these days. It
	// touches nothing else.
	Expire(ctx context.Context, before time.Time) ([]string, error)
}

// Day is the name of a day in a target's trash, by the calendar of the source.
func Day(t time.Time) string { return t.Format(time.DateOnly) }

// IsDay reports whether a name is that of a day.
func IsDay(name string) bool {
	day, err := time.Parse(time.DateOnly, name)
	return err == nil && Day(day) == name
}
