package native

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/wire"
)

// A file that changes while it is read can come out as a mixture of versions, which no target may ever see. That it is the same file, with the
// same times, before and after it was read is a proof that it did not change, but for one case: file systems tell time by a clock that
// goes in steps (of up to 10 ms), and of two changes in one step the second one shows nowhere. Where there is no proof, the file is read
// twice: what is read twice was there between the two.

// step is as long as any step of that clock.
const step = 10 * time.Millisecond

// clock is a time that no file system gives to a change any more: all that comes gets a later one.
func clock() int64 { return time.Now().Add(-step).UnixNano() }

// still reports whether a file that was st before it was read, at a time of the clock, and after it, was the same meanwhile for sure.
func still(st, after change.Stat, at int64) bool { return after == st && st.Ctime < at }

// longer reports whether a file, if it is the same one, has only grown, as far as can be seen: what it was may be its beginning.
func longer(st, after change.Stat) bool { return after.Size > st.Size && after.SameFile(st) }

// bornBefore reports whether the file that is open as fd was there at a time of the clock: one that came later may have the number of another one
// that went. It is not known on every file system.
func bornBefore(fd int, at int64) bool {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	return err == nil && st.Mask&unix.STATX_BTIME != 0 && st.Btime.Sec*1e9+int64(st.Btime.Nsec) < at
}

// settle waits until a change to a file that was st would show. A clock that is not ours, that of a server of files, may be ahead, and is
// not waited for for long.
func settle(st change.Stat) {
	for end := time.Now().Add(2 * step); st.Ctime >= clock() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// errMoves: the file changes while it is read.
var errMoves = errors.New("it changes all the time while it is read")

// buffers are for two readings of a small file, one small file after the other. They are as long as the longest was: with much room made for
// each change, the garbage collector would be at work during many of them.
type buffers struct{ first, second []byte }

func room(buf *[]byte, size int64) []byte {
	*buf = slices.Grow((*buf)[:0], int(size))
	return (*buf)[:size]
}

// read reads a small file of which fd is open, and says what it is: as seen, if nothing has happened to it since then. What it returns is there until
// the next call.
func (bufs *buffers) read(fd int, seen change.Stat) (b []byte, st change.Stat, err error) {
	at := clock()
	b, st, err = readAll(fd, room(&bufs.first, seen.Size))
	if err == nil && int64(len(b)) == seen.Size && still(seen, st, at) {
		return b, st, nil
	}
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return nil, st, err
	}
	if st = change.StatOf(&is); !st.IsRegular() || st.Size > wire.MaxInline {
		return nil, st, errOther
	}
	b, err = bufs.readStill(fd, st)
	return b, st, err
}

// readStill reads a small file of which fd is open and st is known, or errMoves. What it returns is there until the next call.
func (bufs *buffers) readStill(fd int, st change.Stat) ([]byte, error) {
	at := clock()
	b, after, err := readAll(fd, room(&bufs.first, st.Size))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) != st.Size:
		return nil, errMoves
	case still(st, after, at):
		return b, nil
	case after != st && !longer(st, after):
		return nil, errMoves
	}
	again, after, err := readAll(fd, room(&bufs.second, st.Size))
	switch {
	case err != nil:
		return nil, err
	case after != st && !longer(st, after), !bytes.Equal(b, again):
		return nil, errMoves
	}
	return b, nil
}

// readAll reads a file from its start until buf is full, and says what the file was after that.
func readAll(fd int, buf []byte) (b []byte, after change.Stat, err error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, after, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, after, err
	}
	return buf[:n], change.StatOf(&st), nil
}
