package httpd

import (
	"sync"
	"time"

	"sersync/internal/replicate"
)

const (
	// namesMax is how many names of a batch an event has.
	namesMax = 5
	// queueMax bounds the events that wait for one reader; what is more is counted and dropped.
	queueMax = 256
	// readersMax bounds the readers, and with that the memory.
	readersMax = 16
)

// Event is one batch, or how many of them a reader that is too slow has lost. Its JSON form is an interface: fields
// are added, never changed.
type Event struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source,omitempty"`
	Target string    `json:"target,omitempty"`
	// Op is "update", "update-content", "update-large", "update-large-content", "remove" or "remove-exact".
	Op string `json:"op,omitempty"`
	// Paths is how many paths the batch had; Names are the first few, quoted where they hold anything but plain text.
	Paths int      `json:"paths,omitempty"`
	Names []string `json:"names,omitempty"`
	// Files and Bytes are what was sent.
	Files int     `json:"files,omitempty"`
	Bytes int64   `json:"bytes,omitempty"`
	Took  float64 `json:"took_seconds,omitempty"`
	// Failed is how many of the paths the target did not take, Failure why it did not take the first of them.
	Failed  int    `json:"failed,omitempty"`
	Failure string `json:"failure,omitempty"`
	// Error is why the batch failed as a whole.
	Error string `json:"error,omitempty"`
	// Dropped is how many events came between the last one and the next one; such an event has nothing else but its time.
	Dropped int `json:"dropped,omitempty"`
}

// EventOf is the event that a batch is.
func EventOf(b replicate.BatchDone) Event {
	e := Event{
		Time: time.Now(), Source: b.Source, Target: b.Target, Op: b.Op.String(),
		Paths: len(b.Paths), Files: b.Files, Bytes: b.Bytes, Took: b.Took.Seconds(),
	}
	for _, p := range b.Paths[:min(len(b.Paths), namesMax)] {
		e.Names = append(e.Names, p.String())
	}
	if e.Failed = len(b.Failed); e.Failed > 0 {
		e.Failure = b.Failed[0].Err.Error()
	}
	if b.Err != nil {
		e.Error = b.Err.Error()
	}
	return e
}

// Feed passes batches on to those who read along. A sender never waits for a reader.
type Feed struct {
	mu      sync.Mutex
	readers map[*reader]struct{}
}

// reader is one who reads along.
type reader struct {
	mu      sync.Mutex
	queue   []Event
	dropped int
	// news has a value when there is something in the queue.
	news chan struct{}
}

// Batch passes a batch on.
func (f *Feed) Batch(b replicate.BatchDone) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) == 0 {
		return
	}
	e := EventOf(b)
	for r := range f.readers {
		r.put(e)
	}
}

// read begins to read along; nil when too many do.
func (f *Feed) read() *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.readers) >= readersMax {
		return nil
	}
	if f.readers == nil {
		f.readers = map[*reader]struct{}{}
	}
	r := &reader{news: make(chan struct{}, 1)}
	f.readers[r] = struct{}{}
	return r
}

// leave ends what read began.
func (f *Feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
}

// put queues an event. Once one was dropped the following are too, until the queue is taken: so what is counted came
// after all that is queued.
func (r *reader) put(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped > 0 || len(r.queue) >= queueMax {
		r.dropped++
		return
	}
	r.queue = append(r.queue, e)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// take is all that is queued, with a last event for what was dropped.
func (r *reader) take() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.queue
	if r.dropped > 0 {
		all = append(all, Event{Time: time.Now(), Dropped: r.dropped})
	}
	r.queue, r.dropped = nil, 0
	return all
}
