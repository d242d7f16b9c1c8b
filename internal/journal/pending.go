package journal

import "time"

// Pending reports whether there may be something to take now.
func (t *Target) Pending() bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	return t.next != nil || len(t.ready) > 0 || len(t.low) > 0 ||
		len(t.timers) > 0 && !t.timers[0].due.After(time.Now())
}

// Busy reports whether anything is owed that does not wait for a person, or because it failed.
func (t *Target) Busy() bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	if t.next != nil {
		return true
	}
	for _, o := range t.owed {
		if o.State == Ready || o.State == InFlight || o.State == Large || o.State == Delayed {
			return true
		}
	}
	return false
}
