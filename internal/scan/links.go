package scan

import "sersync/internal/change"

// links finds the other names of a file that changed: a write through one name is a change of all, and so is one of mode or
// owner, also when that name is gone by now.
func (o *Observer) links(l *look, p change.Path, old, now change.Stat, h Happened, bits change.Bits) {
	if now.IsFile() && now.Links > 1 && now != old {
		came := !now.SameFile(old)
		if came {
			// What a target may have instead at p says nothing of the other names.
			bits = 0
			if h.Wrote && now.IsRegular() && !now.Natural() {
				bits = change.Content
			}
		}
		o.linked(l, p, now, h, bits, func(q change.Path, known bool) bool { return bits != 0 || !came || !known && !h.named(q) })
	}
	if old.IsFile() && old.Links > 1 && !now.SameFile(old) {
		if h.Wrote && old.IsRegular() {
			o.linked(l, p, old, h, change.Content, func(change.Path, bool) bool { return true })
		} else {
			o.linked(l, p, old, h, 0, nil)
		}
	}
}

// named reports whether nothing is known to have happened but that a file got a name: then nothing is to be sent for the name q that it had. A
// walk that comes to q as well finds out by itself.
func (h Happened) named(q change.Path) bool {
	if h.under == nil {
		return h.Counted
	}
	return q != *h.under && !q.Below(*h.under)
}

// linked takes the names but p of the file that st is of. mark says of one at which nothing changed but how many they are whether it is
// marked; known: not even that, as it was looked at since. Nil leaves it to whoever looks at it next.
func (o *Observer) linked(l *look, p change.Path, st change.Stat, h Happened, bits change.Bits, mark func(q change.Path, known bool) bool) {
	for _, q := range o.index.Links(p, st) {
		now, err := o.root.lstat(q)
		if err != nil || !now.SameFile(st) {
			continue
		}
		f := Finding{Path: q, Stat: now, Young: l.young(now), Mark: true, Since: h.Since, Bits: bits}
		old := o.index.Stat(q)
		if !old.Renamed(now) {
			_, why := compare(old, now)
			f.Bits |= why
		} else if mark == nil {
			continue
		} else if !mark(q, old == now) {
			f.Mark, f.Bits = false, 0
		}
		l.findings = append(l.findings, f)
	}
}

// recounted reports whether a file got another name or lost one, and nothing else is to be seen.
func recounted(old, now change.Stat) bool { return old.Links != now.Links && old.Renamed(now) }
