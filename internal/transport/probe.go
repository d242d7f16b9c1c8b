package transport

import (
	"context"
	"time"
)

// Kept says whether a target stores something.
type Kept string

const (
	// Unknown: it was not asked, or the answer says nothing.
	Unknown Kept = "unknown"
	Stored  Kept = "stored"
	Lost    Kept = "lost"
)

// Grain is how exactly a target stores the time of a file.
type Grain string

const (
	GrainUnknown Grain = "unknown"
	Nanoseconds  Grain = "nanoseconds"
	Seconds      Grain = "seconds"
	// Coarse: not even whole seconds, as FAT with its two.
	Coarse Grain = "coarse"
)

// Probed is what a file of our own told of a target.
type Probed struct {
	// Stamp is the time, in whole seconds, that the target gave to a file which was written there between Before and After of
	// our clock; zero when NoStamp says why it is not known.
	Before, After, Stamp time.Time
	NoStamp              error
	Times                Grain
	Modes, Owners        Kept
	// Left is why the file Name may still be there; nil when it is gone.
	Left error
	Name string
}

// Prober is a Transport that can try a target.
type Prober interface {
	Transport
	// Probe writes a small file of its own into the target, and removes it again, whatever happened. Nothing that is there is
	// replaced, and no directory is made. An error says why the file could not be written.
	Probe(ctx context.Context) (Probed, error)
}
