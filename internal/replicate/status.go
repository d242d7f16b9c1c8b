package replicate

import "time"

// Status is what there is to say of one source. Its JSON form is an interface: fields are added,
// never changed.
type Status struct {
	Name string `json:"name"`
	Path string `json:"path"`
	// State is "starting", "scanning", "watching" or "root-gone".
	State string `json:"state"`
	// Error is why a root that went cannot be opened or watched again, other than that it is not there.
	Error string `json:"error,omitempty"`
	// Watcher is how the root is watched: "fanotify", "inotify" or "poll"; empty while it is gone.
	Watcher string `json:"watcher"`
	// Parts are those that are watched in another way than the root, and the root when there is a better way.
	Parts     []Part `json:"parts"`
	Watches   int    `json:"watches"`
	Overflows uint64 `json:"overflows"`
	Gaps      []Gap  `json:"gaps"`
	// Marks counts the marks since the start; Open is how many files wait for their close.
	Marks uint64 `json:"marks"`
	Open  int    `json:"open"`
	// Indexed is how many paths the index knows.
	Indexed int            `json:"indexed"`
	Brake   *Brake         `json:"brake,omitempty"`
	Journal JournalStatus  `json:"journal"`
	Targets []TargetStatus `json:"targets"`
	Hooks   []HookStatus   `json:"hooks"`
}

// Part is the root, or a file system below it, and how it is watched.
type Part struct {
	Path   string `json:"path"`
	Method string `json:"method"`
	// Reason is why it is not watched in a better way.
	Reason string `json:"reason,omitempty"`
}

// JournalStatus says where the journal is kept, and whether it can be.
type JournalStatus struct {
	// Path is empty when it is kept in memory alone.
	Path string `json:"path"`
	// Bytes is the size of the file, Saved when it was last written, Unsaved how many rows it does not have yet.
	Bytes   int64      `json:"bytes"`
	Saved   *time.Time `json:"saved,omitempty"`
	Unsaved int        `json:"unsaved"`
	// Error is why it cannot be written, since Since.
	Error string     `json:"error,omitempty"`
	Since *time.Time `json:"since,omitempty"`
}

// Gap is a directory that is not watched.
type Gap struct {
	Path   string    `json:"path"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Brake says why removals are held.
type Brake struct {
	// Kind is "root-gone", "root-replaced", "root-empty", "mount-changed", "removal-budget" or "journal-lost".
	Kind   string    `json:"kind"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Held is how many removals wait, over all targets.
	Held int `json:"held"`
}

// TargetStatus is what there is to say of one target.
type TargetStatus struct {
	Name string `json:"name"`
	// State is "idle", "sending", "pausing" (paused, and something is still in flight), "paused", or the kind of the error that keeps the target from working: "away", "busy", "full",
	// "read-only", "refused", "removals-refused", "misconfigured", "broken", "source-gone".
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Oldest is when the oldest change was noticed that is not there yet; Lag is its age in seconds, 0 when all is there.
	Oldest *time.Time `json:"oldest,omitempty"`
	Lag    float64    `json:"lag_seconds"`
	// Waiting is how many paths are owed, all states but dead; WaitingBytes the size of the regular files among them.
	Waiting      int   `json:"waiting"`
	WaitingBytes int64 `json:"waiting_bytes"`
	Retrying     int   `json:"retrying"`
	Held         int   `json:"held"`
	Dead         int   `json:"dead"`
	// Files, Bytes (those of the transport's reports) and Runs are what was sent since the start.
	Files uint64 `json:"files"`
	Bytes uint64 `json:"bytes"`
	Runs  uint64 `json:"runs"`
	// RunsFailed are those of Runs that the target did not take, by the kind of the error. A comparison counts when it failed.
	RunsFailed map[string]uint64 `json:"runs_failed"`
	// Removed counts the removals since the start.
	Removed uint64 `json:"removed"`
	// Sweep is there while the target is being compared.
	Sweep *SweepStatus `json:"sweep,omitempty"`
	// Swept is when the last comparison of everything was done.
	Swept *time.Time `json:"swept,omitempty"`
	// Verifying is there while the target is verified; Found are the differences that were not on their way.
	Verifying *SweepStatus `json:"verifying,omitempty"`
	// Verified is what came of the last verification that came to its end, also before a restart.
	Verified *VerifiedStatus `json:"verified,omitempty"`
	// NextTry is when a target that is away is tried again.
	NextTry   *time.Time `json:"next_try,omitempty"`
	LastError *LastError `json:"last_error,omitempty"`
	// DeadLetters are the oldest of the paths that failed too often, at the most a hundred.
	DeadLetters []DeadLetter `json:"dead_letters"`
	// Limits are what this target could not store so far, each kind once.
	Limits []string `json:"limits"`
}

// SweepStatus is a comparison that is under way.
type SweepStatus struct {
	Since time.Time `json:"since"`
	Found int       `json:"found"`
}

// VerifiedStatus is what a verification came to.
type VerifiedStatus struct {
	// AsOf is when it began.
	AsOf time.Time `json:"as_of"`
	// Content: also by content.
	Content bool `json:"content"`
	// Differences is how many there were that were not on their way; Repaired is whether nothing is owed any more from then.
	Differences int  `json:"differences"`
	Repaired    bool `json:"repaired"`
}

// LastError is the newest failure and since when it repeats.
type LastError struct {
	Text  string    `json:"text"`
	Hint  string    `json:"hint,omitempty"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
}

// DeadLetter is a path that failed too often. It is still tried every hour and at each new mark.
type DeadLetter struct {
	Path  string    `json:"path"`
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Error string    `json:"error"`
}
