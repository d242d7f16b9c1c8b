package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"sersync/internal/change"
)

// format is that of the file. Another one is not read.
const format = 1

// rootKey stands for the root, whose path is empty as no key may be; no path is a dot.
const rootKey = "."

func keyOf(p change.Path) string {
	if p == change.Root {
		return rootKey
	}
	return string(p)
}

func pathOf(key []byte) (change.Path, error) {
	if string(key) == rootKey {
		return change.Root, nil
	}
	if p := change.Path(key); p.Valid() {
		return p, nil
	}
	return "", errDamaged
}

var errDamaged = errors.New("the file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal adds a checksum of key and value to the value: the store has none.
func seal(key string, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
	return binary.LittleEndian.AppendUint32(value, sum)
}

// unseal takes the checksum off and checks it.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 {
		return nil, errDamaged
	}
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[:n])
	if binary.LittleEndian.Uint32(sealed[n:]) != sum {
		return nil, errDamaged
	}
	return sealed[:n], nil
}

// fields reads one value. Once something is missing all that follows is zero, and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) int() int64 {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) time() time.Time {
	if ns := f.int(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (f *fields) done() error {
	if f.bad {
		return errDamaged
	}
	return nil
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// appendStat writes a row of the index. One that is not sure has no ctime: whatever is there will differ from it.
func appendStat(b []byte, st change.Stat, sure bool) []byte {
	for _, v := range []uint64{uint64(st.Mode), uint64(st.UID), uint64(st.GID), uint64(st.Links), st.Dev, st.Ino, st.Rdev} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendVarint(b, st.Size)
	b = binary.AppendVarint(b, st.Mtime)
	if !sure || st.Ctime == 0 {
		return binary.AppendUvarint(b, 0)
	}
	// Most are the same.
	b = binary.AppendUvarint(b, 1)
	return binary.AppendVarint(b, st.Ctime-st.Mtime)
}

func readStat(value []byte) (change.Stat, error) {
	f := fields{b: value}
	st := change.Stat{
		Mode: uint32(f.uint()), UID: uint32(f.uint()), GID: uint32(f.uint()), Links: uint32(f.uint()),
		Dev: f.uint(), Ino: f.uint(), Rdev: f.uint(), Size: f.int(), Mtime: f.int(),
	}
	if f.uint() == 1 {
		st.Ctime = st.Mtime + f.int()
	}
	return st, f.done()
}

func appendEntry(b []byte, e *entry) []byte {
	b = binary.AppendUvarint(b, e.seq)
	b = binary.AppendUvarint(b, e.place)
	b = appendTime(b, e.since)
	return binary.AppendUvarint(b, uint64(e.bits))
}

func readEntry(value []byte) (*entry, error) {
	f := fields{b: value}
	e := &entry{seq: f.uint(), place: f.uint()}
	e.since, e.bits = f.time(), change.Bits(f.uint())
	return e, f.done()
}

// kept is the state in which a row is kept: what is under way begins anew.
func (s State) kept() State {
	switch s {
	case InFlight, Delayed, Large:
		return Ready
	}
	return s
}

func appendOwed(b []byte, o *owed) []byte {
	b = binary.AppendUvarint(b, o.Seq)
	b = appendTime(b, o.Since)
	b = binary.AppendUvarint(b, uint64(o.Bits))
	b = binary.AppendUvarint(b, uint64(o.State.kept()))
	low := uint64(0)
	if o.low {
		low = 1
	}
	b = binary.AppendUvarint(b, low)
	b = appendTime(b, o.Due)
	b = binary.AppendUvarint(b, uint64(o.Tries))
	return append(b, o.Err...)
}

func readOwed(p change.Path, value []byte) (*owed, error) {
	f := fields{b: value}
	o := &owed{Owed: Owed{Mark: change.Mark{Path: p, Seq: f.uint()}}}
	o.Since, o.Bits = f.time(), change.Bits(f.uint())
	o.State = State(f.uint())
	o.low = f.uint() == 1
	o.Due, o.Tries = f.time(), int(f.uint())
	o.Err = string(f.b)
	if o.State > Dead {
		return nil, errDamaged
	}
	return o, f.done()
}

func appendAgain(b []byte, a again) []byte {
	b = appendTime(b, a.due)
	return binary.AppendUvarint(b, uint64(a.bits))
}

func readAgain(value []byte) (again, error) {
	f := fields{b: value}
	a := again{due: f.time(), bits: change.Bits(f.uint())}
	return a, f.done()
}
