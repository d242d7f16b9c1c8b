package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

const (
	// filesIn is how many files a directory has at first, groupSize how many directories go when a prefix is removed.
	filesIn   = 4
	groupSize = 25
)

// model makes the transactions of a journal, always the same ones, and knows what a store must hold after each: a sum
// over its rows goes into the transaction. A store that was read is the state after a whole number of transactions if,
// and only if, the sum of its rows is the one it holds.
type model struct {
	random *rand.Rand
	dirs   int
	// rows are the hashes of what is there, by table and key.
	rows map[string]uint64
	// extra are the files that came to a directory later.
	extra map[int][]string
	// sum adds up rows, number counts transactions, names the names that were given.
	sum, number uint64
	names       int
	// last are the keys of log and owed that the next transaction removes.
	last [tables][][]byte
	// changes are those of the transaction that is being made; count counts rows.
	changes []change
	count   int
}

func newModel() *model {
	return &model{random: rand.New(rand.NewPCG(1, 2)), rows: map[string]uint64{}, extra: map[int][]string{}}
}

// transaction is what one commit writes.
type transaction struct {
	changes []change
	// rows is how many rows change, those below a prefix counted one by one.
	rows int
}

// group is the prefix that a directory shares with its neighbours.
func group(dir int) string {
	if site := dir / 500; site%2 == 0 {
		return fmt.Sprintf("srv/www/site-%04d/htdocs/images/%02d/", site, dir/groupSize%20)
	} else {
		return fmt.Sprintf("srv/data/%04d/%02d/", site, dir/groupSize%20)
	}
}

func directory(dir int) string       { return fmt.Sprintf("%salbum-%06d", group(dir), dir) }
func fileName(dir, file int) string  { return fmt.Sprintf("%s/photo-%d.jpeg", directory(dir), file) }
func (m *model) there(p string) bool { _, ok := m.rows[string(rune(index))+p]; return ok }

// fill makes the transactions of a first start: all rows, in the order of a walk.
func (m *model) fill(dirs, batch int) []transaction {
	var all []transaction
	m.dirs = dirs
	for dir := range dirs {
		m.put(index, []byte(directory(dir)), 40)
		for file := range filesIn {
			m.put(index, []byte(fileName(dir, file)), 40)
		}
		if m.count >= batch || dir == dirs-1 {
			all = append(all, m.finish())
		}
	}
	return all
}

// steady makes one transaction of updates of known paths, half as many new and removed paths as moved says, and rows in
// log and owed for a tenth of them. Every tenth removes a group of directories.
func (m *model) steady(updates, moved int) transaction {
	if m.number%10 == 9 {
		m.removeGroup(m.random.IntN(m.dirs))
	}
	for _, t := range []table{log, owed} {
		for _, key := range m.last[t] {
			m.remove(t, key)
		}
		m.last[t] = nil
	}
	touched := map[string]bool{}
	for tries := 0; len(touched) < updates+moved/2 && tries < 10*(updates+moved); tries++ {
		name := fileName(m.random.IntN(m.dirs), m.random.IntN(filesIn))
		if touched[name] || !m.there(name) {
			continue
		}
		if touched[name] = true; len(touched) > updates {
			m.remove(index, []byte(name))
			continue
		}
		m.put(index, []byte(name), 40)
		if len(touched)%10 == 0 {
			m.mark(name)
		}
	}
	for range moved / 2 {
		m.insert(m.random.IntN(m.dirs))
	}
	return m.finish()
}

// burst makes one transaction of new rows in a subtree of its own.
func (m *model) burst(rows int) transaction {
	for range rows {
		m.names++
		m.put(index, fmt.Appendf(nil, "srv/upload/%08d/picture-%08d.jpeg", m.number, m.names), 40)
	}
	return m.finish()
}

func (m *model) insert(dir int) {
	if m.names++; !m.there(directory(dir)) {
		return
	}
	name := fmt.Sprintf("%s/new-%08d", directory(dir), m.names)
	m.extra[dir] = append(m.extra[dir], name)
	m.put(index, []byte(name), 40)
}

// mark puts a row into log and owed, which the next transaction removes.
func (m *model) mark(name string) {
	m.names++
	seq := binary.BigEndian.AppendUint64(nil, uint64(m.names))
	m.put(log, seq, 60)
	key := append([]byte{1}, name...)
	m.put(owed, key, 16)
	m.last[log] = append(m.last[log], seq)
	m.last[owed] = append(m.last[owed], key)
}

func (m *model) removeGroup(dir int) {
	first := dir / groupSize * groupSize
	for d := first; d < first+groupSize; d++ {
		names := append(m.extra[d], directory(d))
		for file := range filesIn {
			names = append(names, fileName(d, file))
		}
		for _, name := range names {
			if m.there(name) {
				m.drop(index, []byte(name))
			}
		}
		delete(m.extra, d)
	}
	m.changes = append(m.changes, change{verb: removePrefix, table: index, key: []byte(group(dir))})
}

func (m *model) put(t table, key []byte, size int) {
	value := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(value[i:], m.random.Uint64())
	}
	m.drop(t, key)
	h := hash(t, key, value)
	m.rows[string(rune(t))+string(key)] = h
	m.sum += h
	m.changes = append(m.changes, change{verb: put, table: t, key: key, value: value})
}

func (m *model) remove(t table, key []byte) {
	m.drop(t, key)
	m.changes = append(m.changes, change{verb: remove, table: t, key: key})
}

// drop takes a row out of the model, one that is there or not, and counts it as changed.
func (m *model) drop(t table, key []byte) {
	name := string(rune(t)) + string(key)
	m.sum -= m.rows[name]
	delete(m.rows, name)
	m.count++
}

// finish ends a transaction with its number and sum.
func (m *model) finish() transaction {
	m.number++
	m.changes = append(m.changes,
		change{put, meta, []byte("number"), binary.BigEndian.AppendUint64(nil, m.number)},
		change{put, meta, []byte("sum"), binary.BigEndian.AppendUint64(nil, m.sum)})
	// Stable: a row that is removed and put again in one transaction is there.
	slices.SortStableFunc(m.changes, func(a, b change) int {
		if (a.verb == removePrefix) != (b.verb == removePrefix) {
			return int(a.verb) - int(b.verb)
		}
		if a.table != b.table {
			return int(a.table) - int(b.table)
		}
		return bytes.Compare(a.key, b.key)
	})
	tx := transaction{m.changes, m.count}
	m.changes, m.count = nil, 0
	return tx
}

func hash(t table, key, value []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(t), byte(len(key))})
	h.Write(key)
	h.Write(value)
	return h.Sum64()
}

// after is the first key behind all that begin with the prefix.
func after(prefix []byte) []byte {
	next := bytes.Clone(prefix)
	next[len(next)-1]++
	return next
}

// content is what was read of a store.
type content struct {
	Rows   int
	Number uint64
	// Whole says that the rows are those after transaction Number.
	Whole bool
}

func contents(s store) (content, error) {
	var c content
	var sum, want uint64
	err := s.read(func(t table, key, value []byte) {
		switch {
		case t != meta:
			c.Rows++
			sum += hash(t, key, value)
		case string(key) == "number" && len(value) == 8:
			c.Number = binary.BigEndian.Uint64(value)
		case string(key) == "sum" && len(value) == 8:
			want = binary.BigEndian.Uint64(value)
		}
	})
	c.Whole = c.Number > 0 && sum == want
	return c, err
}
