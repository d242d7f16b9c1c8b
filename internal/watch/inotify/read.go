package inotify

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Take turns what was read into events, brings the places up to date, and hands the events to sink. It is for Run.
func (w *Watcher) Take(buf []byte, now time.Time) (events, queued int) {
	queued = len(buf)
	w.batch.Begin(now)
	w.mu.Lock()
	for len(buf) >= unix.SizeofInotifyEvent {
		wd, bits := int32(binary.NativeEndian.Uint32(buf)), binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := buf[unix.SizeofInotifyEvent:end]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		w.one(wd, bits, name, now)
		buf = buf[end:]
		events++
	}
	w.mu.Unlock()
	w.batch.Hand(w.sink)
	return events, queued
}
