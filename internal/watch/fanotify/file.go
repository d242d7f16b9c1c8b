package fanotify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// heldBack is how many unnamed events wait for one with a name, so that looking for it costs little.
const heldBack = 64

// file takes an event of a file of which there is only the handle. When a file gets another name or loses one, the kernel
// tells of its attributes first, without a name: such an event is held back until the next one.
func (w *Watcher) file(e event) {
	if e.mask != unix.FAN_ATTRIB {
		w.reportFile(e)
		return
	}
	if len(w.counts) == heldBack {
		w.reportFile(w.counts[0])
		w.counts = slices.Delete(w.counts, 0, 1)
	}
	w.counts = append(w.counts, e)
}

// counted drops what was held back of a file to which e gives a name, or takes one.
func (w *Watcher) counted(e event) {
	if e.mask&(unix.FAN_CREATE|unix.FAN_DELETE) == 0 {
		return
	}
	w.counts = slices.DeleteFunc(w.counts, func(c event) bool { return bytes.Equal(c.key, e.target) })
}

// reportCounts reports what was held back in vain. It is of the buffer, and must be gone with it.
func (w *Watcher) reportCounts() {
	for _, e := range w.counts {
		w.reportFile(e)
	}
	w.counts = w.counts[:0]
}

// reportFile reports what happened to a file of which there is only the handle.
func (w *Watcher) reportFile(e event) {
	sys := w.systems[e.system]
	if sys == nil {
		return // unmounted
	}
	for at, m := range sys.mounts {
		var st unix.Stat_t
		fd, err := w.open(at, m, e.handle())
		if err == nil {
			err = unix.Fstat(fd, &st)
			unix.Close(fd)
		}
		switch {
		case errors.Is(err, errMoved):
			continue
		case errors.Is(err, unix.ESTALE), err == nil && st.Nlink == 0:
			return
		case err != nil:
			w.unsure = true
			return
		}
		for _, k := range kinds {
			if e.mask&k.bit != 0 {
				w.batch.AddFile(k.kind, change.StatOf(&st).Inode())
			}
		}
		return
	}
}

// keyOf is what tells a directory or a file from others in an info record: fsid, type and bytes of the handle; and the rest of
// the record, which holds a name.
func keyOf(info []byte) (key, rest []byte) {
	end := infoSize + int(binary.NativeEndian.Uint32(info[headSize+8:]))
	return info[headSize:end], info[end:]
}
