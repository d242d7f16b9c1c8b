package fanotify

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/watch"
)

// kinds are the events of an entry. Several are merged into one, whatever their order was: what a walk or a wait follows
// upon comes last.
var kinds = [...]struct {
	bit  uint64
	kind watch.Kind
}{
	{unix.FAN_DELETE, watch.Removed},
	{unix.FAN_MOVED_FROM, watch.MovedFrom},
	{unix.FAN_CREATE, watch.Created},
	{unix.FAN_MOVED_TO, watch.MovedTo},
	{unix.FAN_ATTRIB, watch.Attrib},
	{unix.FAN_MODIFY, watch.Wrote},
	{unix.FAN_CLOSE_WRITE, watch.Closed},
}

// An info record begins with its type, a byte of nothing, its length, and the fsid; then come the length, the type
// and the bytes of the handle, and the name up to a NUL (fanotify(7)).
const (
	headSize = 4
	infoSize = headSize + 8 + 8
)

// event is one event of the kernel.
type event struct {
	mask   uint64
	system fsid
	// key tells directories apart: fsid, type and bytes of the handle. name is the entry; empty for the directory itself.
	// unnamed: the key is that of a file, and the kernel does not know in which directory it is.
	key, name []byte
	unnamed   bool
	// target is the key of the file that has the name, where the kernel tells it.
	target []byte
}

func (e event) isDir() bool { return e.mask&unix.FAN_ONDIR != 0 }

func (e event) handle() unix.FileHandle {
	return unix.NewFileHandle(int32(binary.NativeEndian.Uint32(e.key[12:])), e.key[16:])
}

// cut takes the first event off buf. It has no key when it is of nothing in particular.
func cut(buf []byte) (e event, rest []byte) {
	size := binary.NativeEndian.Uint32(buf)
	one := buf[:size]
	e.mask = binary.NativeEndian.Uint64(buf[8:])
	info := one[binary.NativeEndian.Uint16(buf[6:]):]
	for len(info) >= infoSize {
		length := int(binary.NativeEndian.Uint16(info[2:]))
		key, name := keyOf(info[:length])
		switch {
		case info[0] == unix.FAN_EVENT_INFO_TYPE_DFID_NAME:
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if string(name) == "." {
				name = nil
			}
			e.system, e.key, e.name = fsid(key), key, name
		case info[0] == unix.FAN_EVENT_INFO_TYPE_FID && e.key == nil:
			e.system, e.key, e.unnamed = fsid(key), key, true
		case info[0] == unix.FAN_EVENT_INFO_TYPE_FID:
			e.target = key
		}
		info = info[length:]
	}
	return e, buf[size:]
}

// Take turns what was read into events and hands them to sink. It is for Run.
func (w *Watcher) Take(buf []byte, now time.Time) (events, queued int) {
	w.batch.Begin(now)
	w.mu.Lock()
	for len(buf) >= unix.FAN_EVENT_METADATA_LEN {
		var e event
		e, buf = cut(buf)
		w.one(e)
		events++
	}
	w.reportCounts()
	w.mu.Unlock()
	if w.suspect {
		w.checkRoot()
	}
	w.batch.Hand(w.sink)
	return events, events * unix.FAN_EVENT_METADATA_LEN
}

func (w *Watcher) one(e event) {
	if e.mask&unix.FAN_Q_OVERFLOW != 0 {
		w.overflows++
		w.known.clear()
		w.batch.Add(watch.Look, nil, nil, true)
		return
	}
	// What is gone is told of by its name, and that a file has one name less is told of it before it goes.
	if e.key == nil || e.mask&unix.FAN_DELETE_SELF != 0 {
		return
	}
	if e.unnamed {
		w.file(e)
		return
	}
	w.counted(e)
	dirs, sure := w.dirs(e)
	outside := sure && len(dirs) == 0
	if e.isDir() && outside {
		w.suspect = true
	}
	// A rename outside leaves outside what was there, and what it brings in or takes out has its other half inside.
	if e.isDir() && !outside && e.mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0 {
		w.known.clear()
	}
	for _, dir := range dirs {
		w.report(e, dir)
	}
}

func (w *Watcher) report(e event, dir change.Path) {
	for _, k := range kinds {
		if e.mask&k.bit != 0 {
			w.batch.Add(k.kind, []byte(dir), e.name, e.isDir())
		}
	}
}
