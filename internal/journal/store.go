package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"sersync/internal/change"
)

// Buckets of the file. Below targets each target has one of its own, by its name.
var (
	metaBucket    = []byte("meta")
	indexBucket   = []byte("index")
	logBucket     = []byte("log")
	targetsBucket = []byte("targets")
	owedBucket    = []byte("owed")
	againBucket   = []byte("again")
	recentBucket  = []byte("recent")
	metaKey       = []byte("meta")
)

// lockTime is how long a file is waited for that another process has open.
const lockTime = time.Second

const (
	// mapped is how much of the file has a place in memory from the start, in bytes, whether it is there or not: to find another place while
	// a transaction is written costs more than the transaction.
	mapped = 64 << 20
	// growth is how much larger than needed the file is made, in bytes.
	growth = 64 << 10
)

// store is the file of a journal: a B+tree whose transactions are all there or not at all, after a power cut too.
type store struct {
	db   *bbolt.DB
	file os.FileInfo
	// lost: it is damaged, and must not be touched any more.
	lost bool
}

// meta is what the file says of the whole.
type meta struct {
	Format int    `json:"format"`
	Source []byte `json:"source"`
	// Boot is the kernel's boot id, Saved the time of the transaction.
	Boot  string    `json:"boot"`
	Saved time.Time `json:"saved"`
	// Clean: the journal was closed, and nothing was done that is not in it.
	Clean bool   `json:"clean"`
	Seq   uint64 `json:"seq"`
	// Rows and Log are how many there are: a row that is missing is damage, too.
	Rows    int                        `json:"rows"`
	Log     int                        `json:"log"`
	Targets []targetMeta               `json:"targets"`
	Facts   map[string]json.RawMessage `json:"facts,omitempty"`
}

type targetMeta struct {
	Name   []byte `json:"name"`
	Cursor uint64 `json:"cursor"`
	Owed   int    `json:"owed"`
	Again  int    `json:"again"`
	Recent int    `json:"recent"`
}

// guarded calls do, and turns into an error what a damaged file does to who reads it as memory: a panic of the store, or a
// fault of the processor.
func guarded(do func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return do()
}

// openStore opens or makes the file. The list of free pages is kept in it: without it a damaged file is found by a
// goroutine of the library, whose panic nobody could catch.
func openStore(path string, mmapFlags int) (s *store, err error) {
	err = guarded(func() error {
		// What is open, whatever has the name by now.
		var info os.FileInfo
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockTime, FreelistType: bbolt.FreelistMapType, NoStatistics: true, MmapFlags: mmapFlags, InitialMmapSize: mapped,
			OpenFile: func(name string, flags int, perm os.FileMode) (*os.File, error) {
				file, err := os.OpenFile(name, flags|unix.O_NOFOLLOW, perm)
				if err == nil {
					info, err = file.Stat()
				}
				return file, err
			},
		})
		if err != nil {
			return err
		}
		db.AllocSize = growth
		s = &store{db: db, file: info}
		return nil
	})
	return s, err
}

// there reports whether the file's name still leads to it.
func (s *store) there() bool {
	info, err := os.Lstat(s.db.Path())
	return err == nil && os.SameFile(info, s.file)
}

func (s *store) close() error { return s.db.Close() }

// write commits one transaction. It is on the disk when it returns nil.
func (s *store) write(tx transaction) error {
	sortOps(tx.index)
	sortOps(tx.log)
	err := guarded(func() error {
		return s.db.Update(func(b *bbolt.Tx) error { return writeTo(b, tx) })
	})
	if errors.Is(err, unix.EFBIG) {
		// The number of a free page that no file can have.
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

func writeTo(b *bbolt.Tx, tx transaction) error {
	index, err := b.CreateBucketIfNotExists(indexBucket)
	if err != nil {
		return err
	}
	index.FillPercent = 0.9
	for _, p := range tx.cleared {
		if _, err := clearBelow(index, p); err != nil {
			return err
		}
	}
	if err := apply(index, tx.index); err != nil {
		return err
	}
	if err := applyTo(b, logBucket, tx.log); err != nil {
		return err
	}
	targets, err := b.CreateBucketIfNotExists(targetsBucket)
	if err != nil {
		return err
	}
	for _, name := range tx.dropped {
		if err := targets.DeleteBucket([]byte(name)); err != nil && !errors.Is(err, bbolterrors.ErrBucketNotFound) {
			return err
		}
	}
	for name, ops := range tx.targets {
		if err := writeTarget(targets, name, ops); err != nil {
			return err
		}
	}
	text, err := json.Marshal(tx.meta)
	if err != nil {
		return fmt.Errorf("write meta: %w", err)
	}
	return applyTo(b, metaBucket, []op{put(string(metaKey), text)})
}

func writeTarget(targets *bbolt.Bucket, name string, ops targetOps) error {
	target, err := targets.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	for _, part := range []struct {
		bucket []byte
		ops    []op
	}{{owedBucket, ops.owed}, {againBucket, ops.again}, {recentBucket, ops.recent}} {
		sortOps(part.ops)
		if err := applyTo(target, part.bucket, part.ops); err != nil {
			return err
		}
	}
	return nil
}

// buckets are what has buckets: a transaction or a bucket.
type buckets interface {
	CreateBucketIfNotExists(name []byte) (*bbolt.Bucket, error)
	Bucket(name []byte) *bbolt.Bucket
}

func applyTo(parent buckets, name []byte, ops []op) error {
	b, err := parent.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	return apply(b, ops)
}

func apply(b *bbolt.Bucket, ops []op) error {
	for _, o := range ops {
		var err error
		if o.value == nil {
			err = b.Delete([]byte(o.key))
		} else {
			err = b.Put([]byte(o.key), o.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clear deletes what is below directories.
func (s *store) clear(dirs []change.Path) error {
	return guarded(func() error { return s.db.Update(func(b *bbolt.Tx) error { return clearAll(b, dirs) }) })
}

func clearAll(b *bbolt.Tx, dirs []change.Path) error {
	index, about := b.Bucket(indexBucket), b.Bucket(metaBucket)
	if index == nil || about == nil {
		return errNotNow // nothing was written yet
	}
	text, err := unseal(metaKey, about.Get(metaKey))
	if err != nil {
		return err
	}
	var m meta
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("read meta: %w", err)
	}
	for _, p := range dirs {
		n, err := clearBelow(index, p)
		if err != nil {
			return err
		}
		m.Rows -= n
	}
	m.Clean = false
	if text, err = json.Marshal(m); err != nil {
		return fmt.Errorf("write meta: %w", err)
	}
	return apply(about, []op{put(string(metaKey), text)})
}

// clearBelow deletes all keys below a directory, with the root also its own, which is unsaved then, and says how many.
func clearBelow(b *bbolt.Bucket, dir change.Path) (n int, err error) {
	prefix := []byte(dir + "/")
	if dir == change.Root {
		prefix = nil
	}
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && k != nil; n++ {
		// On from here: what is deleted leaves empty pages, which a search from the start would pass each time.
		at := slices.Clone(k)
		if err := c.Delete(); err != nil {
			return n, err
		}
		k, _ = c.Seek(at)
	}
	return n, nil
}

// sortOps puts ops in the order of the tree, so that each page is written once.
func sortOps(ops []op) {
	slices.SortFunc(ops, func(a, b op) int { return strings.Compare(a.key, b.key) })
}

// contents are what a file held.
type contents struct {
	meta    meta
	targets map[string]*targetContents
	log     []*entry
}

type targetContents struct {
	owed   []*owed
	again  map[change.Path]again
	recent []recent
}

// read reads the file; row is called for each row of the index, parents before their children. ok is false for a
// file in which nothing was committed.
func (s *store) read(row func(change.Path, change.Stat)) (c contents, ok bool, err error) {
	err = guarded(func() error {
		return s.db.View(func(b *bbolt.Tx) error {
			if b.Bucket(metaBucket) == nil {
				return nil
			}
			ok = true
			return c.readFrom(b, row)
		})
	})
	return c, ok, err
}

func (c *contents) readFrom(b *bbolt.Tx, row func(change.Path, change.Stat)) error {
	sealed := b.Bucket(metaBucket).Get(metaKey)
	text, err := unseal(metaKey, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &c.meta); err != nil {
		return fmt.Errorf("read meta: %w", err)
	}
	if c.meta.Format != format {
		return fmt.Errorf("it is of format %d, this sersync reads %d", c.meta.Format, format)
	}
	rows := 0
	err = each(b, indexBucket, func(p change.Path, value []byte) error {
		st, err := readStat(value)
		if err == nil {
			row(p, st)
			rows++
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(b, logBucket, func(p change.Path, value []byte) error {
		e, err := readEntry(value)
		if err == nil {
			e.path, e.stored = p, true
			c.log = append(c.log, e)
		}
		return err
	})
	if err != nil {
		return err
	}
	if rows != c.meta.Rows || len(c.log) != c.meta.Log {
		return fmt.Errorf("%w: %d rows and %d marks are there, %d and %d should be", errDamaged, rows, len(c.log), c.meta.Rows, c.meta.Log)
	}
	return c.readTargets(b.Bucket(targetsBucket))
}

func (c *contents) readTargets(targets *bbolt.Bucket) error {
	c.targets = map[string]*targetContents{}
	for _, m := range c.meta.Targets {
		t := &targetContents{again: map[change.Path]again{}}
		c.targets[string(m.Name)] = t
		if b := targets.Bucket(m.Name); b != nil {
			if err := t.read(b); err != nil {
				return err
			}
		}
		if len(t.owed) != m.Owed || len(t.again) != m.Again || len(t.recent) != m.Recent {
			return fmt.Errorf("%w: of %q %d, %d and %d rows are there, %d, %d and %d should be",
				errDamaged, m.Name, len(t.owed), len(t.again), len(t.recent), m.Owed, m.Again, m.Recent)
		}
	}
	return nil
}

func (t *targetContents) read(b *bbolt.Bucket) error {
	err := each(b, owedBucket, func(p change.Path, value []byte) error {
		o, err := readOwed(p, value)
		if err == nil {
			o.stored = true
			t.owed = append(t.owed, o)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(b, againBucket, func(p change.Path, value []byte) error {
		a, err := readAgain(value)
		t.again[p] = a
		return err
	})
	if err != nil {
		return err
	}
	return t.readRecent(b.Bucket(recentBucket))
}

// each reads a bucket of paths.
func each(parent buckets, name []byte, do func(change.Path, []byte) error) error {
	b := parent.Bucket(name)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, sealed []byte) error {
		value, err := unseal(k, sealed)
		if err != nil {
			return err
		}
		p, err := pathOf(k)
		if err != nil {
			return err
		}
		return do(p, value)
	})
}

// secondKey is the key of what was changed in a second.
func secondKey(second int64) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(second)))
}

func secondOf(key string) int64 { return int64(binary.BigEndian.Uint64([]byte(key))) }

// recentBits stands before bits, and they before their path: no path begins with it.
const recentBits = '/'

// recentOp writes what was changed in a second. No path holds a NUL.
func (t *Target) recentOp(second int64) op {
	var value []byte
	for _, r := range t.recent {
		if r.second != second {
			continue
		}
		for _, c := range r.paths {
			if c.Bits != 0 {
				value = append(value, recentBits, byte(c.Bits))
			}
			value = append(append(value, c.Path...), 0)
		}
	}
	key := secondKey(second)
	if value == nil {
		return op{key: key}
	}
	return put(key, value)
}

func (t *targetContents) readRecent(b *bbolt.Bucket) error {
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, sealed []byte) error {
		value, err := unseal(k, sealed)
		if err != nil || len(k) != 8 {
			return errDamaged
		}
		r := recent{second: secondOf(string(k))}
		for p := range strings.SplitSeq(strings.TrimSuffix(string(value), "\x00"), "\x00") {
			c := Changed{Path: change.Path(p)}
			if len(p) > 1 && p[0] == recentBits {
				c = Changed{Path: change.Path(p[2:]), Bits: change.Bits(p[1])}
			}
			r.paths = append(r.paths, c)
		}
		t.recent = append(t.recent, r)
		return nil
	})
}

// syncDir makes a new name in the directory of path survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
