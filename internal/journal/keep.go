package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"
)

// keep is what a journal knows of the file that it is kept in. All of it is zero when there is none.
type keep struct {
	store *store
	// path is where the file is, source what it is of.
	path, source string
	boot         string
	unsaved      unsaved
	facts        map[string]json.RawMessage
	// at is when the last transaction was written, failed since when it fails, and tried when it was last tried.
	at, failed, tried time.Time
	err               error
	clean             bool
	// writing is how many rows the transaction has that is being written; clearing: it takes out what was below directories
	// that went.
	writing  int
	clearing bool
}

// retryTime is how long a commit that failed is not tried again.
const retryTime = time.Second

// Kept is what there is to say of the file.
type Kept struct {
	// Path is empty when the journal is in memory alone.
	Path string
	// Bytes is the size of the file.
	Bytes int64
	// Saved is when it was last written, Unsaved how many rows it does not have yet.
	Saved   time.Time
	Unsaved int
	// Err is why it cannot be written, since Failed.
	Err    error
	Failed time.Time
}

// Kept says where the journal is kept, and whether it can be.
func (j *Journal) Kept() Kept {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := Kept{Path: j.path, Saved: j.at, Unsaved: j.unsavedSize() + j.writing, Err: j.err, Failed: j.failed}
	if info, err := os.Stat(j.path); err == nil {
		k.Bytes = info.Size()
	}
	return k
}

// Full gets a value when there is so much to save that it should not wait.
func (j *Journal) Full() <-chan struct{} { return j.full }

// Recorded is when something was recorded last; zero before that.
func (j *Journal) Recorded() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.recorded
}

// lacking reports whether the file lacks anything. The journal is locked.
func (j *Journal) lacking() bool {
	return j.store != nil && (j.unsaved.meta || j.clean || j.unsavedSize() > 0)
}

// SetFact keeps something else about the source with the journal, by a name. The value is one that JSON can hold.
func (j *Journal) SetFact(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("keep fact %q: %v", name, err)) // a mistake of the program
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.facts == nil {
		j.facts = map[string]json.RawMessage{}
	}
	if string(j.facts[name]) == string(text) {
		return
	}
	j.facts[name] = text
	j.unsaved.meta = true
}

// DropFacts forgets the facts whose names such says so of.
func (j *Journal) DropFacts(such func(name string) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.facts)
	maps.DeleteFunc(j.facts, func(name string, _ json.RawMessage) bool { return such(name) })
	j.unsaved.meta = j.unsaved.meta || len(j.facts) < before
}

// Fact reads what SetFact kept. It reports whether there is anything.
func (j *Journal) Fact(name string, value any) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	text, ok := j.facts[name]
	return ok && json.Unmarshal(text, value) == nil
}

// meta is what is written with each transaction. The journal is locked.
func (j *Journal) meta() meta {
	m := meta{
		Format: format, Source: []byte(j.source), Boot: j.boot, Saved: time.Now(), Clean: j.clean,
		Seq: j.seq, Rows: j.index.size, Log: len(j.entries), Facts: map[string]json.RawMessage{},
	}
	if j.index.root.stat.Exists() {
		m.Rows++
	}
	for name, text := range j.facts {
		m.Facts[name] = text
	}
	for name, t := range j.tables() {
		m.Targets = append(m.Targets, targetMeta{Name: []byte(name), Cursor: t.saved(), Owed: len(t.owed) - t.lent, Again: len(t.again), Recent: t.seconds()})
	}
	return m
}

// Commit writes what the file lacks, in one transaction, and returns when it is on the disk. Where there is no file it does
// nothing. What could not be written is tried again by the next one, not within a second.
func (j *Journal) Commit() error {
	j.saving.Lock()
	defer j.saving.Unlock()
	return j.commit()
}

func (j *Journal) commit() error {
	j.mu.Lock()
	if !j.lacking() {
		j.mu.Unlock()
		return nil
	}
	if j.err != nil && time.Since(j.tried) < retryTime {
		defer j.mu.Unlock()
		return j.err
	}
	j.tried = time.Now()
	j.mu.Unlock()
	err := j.write()
	if errors.Is(err, errDamaged) {
		err = j.write() // to a new file
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("write journal %q: %w", j.path, err)
		if j.err == nil {
			j.failed = time.Now()
		}
		j.err = err
		return err
	}
	j.err, j.failed = nil, time.Time{}
	return nil
}

// write writes one transaction.
func (j *Journal) write() error {
	j.mu.Lock()
	if err := j.renew(); err != nil {
		j.mu.Unlock()
		return err
	}
	j.writing = j.unsavedSize()
	tx, s := j.transaction(), j.store
	j.clearing = len(tx.cleared) > 0
	j.mu.Unlock()
	err := s.write(tx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing, j.clearing = 0, false
	if err != nil {
		j.takeBack(tx)
		s.lost = errors.Is(err, errDamaged)
		return err
	}
	j.at = tx.meta.Saved
	return nil
}

// renew makes a new file where the old one was taken away or is damaged: all that was in it is in memory. The journal is
// locked.
func (j *Journal) renew() error {
	ours := j.store.there()
	if !j.store.lost && ours {
		return nil
	}
	s, err := newStore(j.path, ours)
	if err != nil {
		return err
	}
	if !j.store.lost {
		j.store.close()
	}
	j.store = s
	j.saveAll()
	return nil
}

// KeepAnew keeps a journal in a file that could not be kept by Keep. What is in the file is older, and set aside.
func (j *Journal) KeepAnew(path, source string) error {
	j.saving.Lock()
	defer j.saving.Unlock()
	s, err := newStore(path, false)
	if err != nil {
		return fmt.Errorf("open journal %q: %w", path, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.store, j.path, j.source, j.boot = s, path, source, bootID()
	j.saveAll()
	return nil
}

// Settled reports whether the file no longer has what was below directories that went. A sender asks before it does what
// destroys a directory on its target: the directory may come back as it was, and if the file still had what was in it
// when we are killed, nobody would send it.
func (j *Journal) Settled() bool {
	if j.settled() {
		return true
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	return j.settled() || j.clear() == nil || j.commit() == nil
}

// clear has the file forget what was below directories that went, and write nothing else: a few pages, where all that a rename changes are
// thousands of rows. What it lacks of the index then is new to a start, and marked by it.
func (j *Journal) clear() error {
	j.mu.Lock()
	if j.err != nil || j.store.lost || !j.store.there() {
		j.mu.Unlock()
		return errNotNow
	}
	s, cleared := j.store, j.unsaved.cleared
	j.unsaved.cleared, j.unsaved.meta, j.clearing = nil, true, true
	j.mu.Unlock()
	err := s.clear(cleared)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clearing = false
	if err != nil {
		j.unsaved.cleared = append(cleared, j.unsaved.cleared...)
	}
	return err
}

// errNotNow: only a whole transaction will do.
var errNotNow = errors.New("the file is not as it should be")

func (j *Journal) settled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.store == nil || len(j.unsaved.cleared) == 0 && !j.clearing
}

// Close writes what the file lacks and closes it. clean says that nothing happened at the targets that is not in the
// journal: at the next start the source alone says what changed.
func (j *Journal) Close(clean bool) error {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	if j.store == nil {
		j.mu.Unlock()
		return nil
	}
	j.clean = clean
	j.tried = time.Time{}
	j.unsaved.meta = true
	j.mu.Unlock()
	err := j.commit()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.store.lost {
		err = errors.Join(err, j.store.close())
	}
	j.store = nil
	return err
}
