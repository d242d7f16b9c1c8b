package journal

import "time"

// What a target takes from the log is acked in a moment, most of the time. A row of it in the file would be written to be taken out again, for each
// target. So the log keeps for the file what was just taken: the cursor of the file stays before it, and its entries stay in the log. Such a
// row is lent. It gets its place in the file as soon as anything else than an ack becomes of it, or of its entry: until then the entry stands where
// it stood, and says all that the row says. So whatever is in the file, a target is owed there what it is owed, by one or the other.

// lendTime is how long the cursor of the file stays behind for a batch that is not acked.
const lendTime = 5 * time.Second

// lends reports whether the row of an entry, which the target takes from the log, can be lent. What waits for a comparison may be in flight for days.
func (t *Target) lends(e *entry) bool {
	return t.unsaved.owed != nil && t.owed[e.path] == nil && !t.unsaved.owed.has(e.path) && e.bits&unproven == 0
}

// lend makes the row of an entry that the target takes from the log. from is where its cursor was before this batch.
func (t *Target) lend(e *entry, from uint64) *owed {
	if t.lent == 0 {
		t.behind, t.lentAt = from, time.Now()
	}
	t.lent++
	o := &owed{Owed: Owed{Mark: e.mark()}, lent: true}
	t.owed[e.path] = o
	return o
}

// keep gives a row its place in the file.
func (t *Target) keep(o *owed) {
	if o != nil && o.lent {
		o.lent = false
		t.lent--
		t.unsaved.owed.add(o.Path)
	}
}

// keepAll gives all rows their places in the file. The entry of each row that is lent stands between the two cursors.
func (t *Target) keepAll() {
	e := t.j.last
	if t.next != nil {
		e = t.next.prev
	}
	for ; t.lent > 0; e = e.prev {
		t.keep(t.owed[e.path])
	}
}

// keepAll gives all rows of all targets their places in the file, but for those that are younger than that. The log is trimmed to the cursors then.
func (j *Journal) keepAll(younger time.Duration) {
	for _, t := range j.targets {
		if t.lent > 0 && time.Since(t.lentAt) >= younger {
			t.keepAll()
		}
	}
	j.trim()
}

// saved is the cursor of the file.
func (t *Target) saved() uint64 {
	if t.lent > 0 {
		return t.behind
	}
	return t.cursor
}
