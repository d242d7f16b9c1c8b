package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

const (
	importBolt  = `"go.etcd.io/bbolt"`
	trivialBolt = `
	db, err := bbolt.Open(os.Args[1], 0o600, nil)
	fmt.Println(err, db.Update(func(tx *bbolt.Tx) error {
		b, _ := tx.CreateBucketIfNotExists([]byte("b"))
		return b.Put([]byte("k"), []byte("v"))
	}), db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("b")).ForEach(func(k, v []byte) error { return nil })
	}))`
)

type bolt struct {
	db *bbolt.DB
	// fill is how full a page is left when it is split.
	fill float64
}

// openBolt opens with the defaults of bbolt.
func openBolt(dir string) (store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "journal.bbolt"), 0o600, nil)
	return bolt{db, bbolt.DefaultFillPercent}, err
}

// tunedBolt is bbolt for few scattered writes and one read of all: full pages, a hash map for the list of free ones, and
// a file that is read ahead (by itself bbolt tells the kernel that it reads at random, and waits for each page). It
// guards against damaged files.
type tunedBolt struct{ bolt }

func openTunedBolt(dir string) (store, error) {
	options := *bbolt.DefaultOptions
	options.FreelistType, options.MmapFlags = bbolt.FreelistMapType, unix.MAP_POPULATE
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(filepath.Join(dir, "journal.bbolt"), 0o600, &options)
		return err
	})
	return tunedBolt{bolt{db, 0.9}}, err
}

func (s tunedBolt) commit(changes []change) error {
	return guard(func() error { return s.bolt.commit(changes) })
}

func (s tunedBolt) read(each func(t table, key, value []byte)) error {
	return guard(func() error { return s.bolt.read(each) })
}

// guard makes an error of what a damaged file ends in: a panic of bbolt, or SIGBUS for a page that the file has no more.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("panic of bbolt: %v", what)
		}
	}()
	return do()
}

func (s bolt) commit(changes []change) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		var buckets [tables]*bbolt.Bucket
		for t := range tables {
			b, err := tx.CreateBucketIfNotExists([]byte(t.String()))
			if err != nil {
				return err
			}
			b.FillPercent = s.fill
			buckets[t] = b
		}
		for _, c := range changes {
			if err := applyBolt(buckets[c.table], c); err != nil {
				return err
			}
		}
		return nil
	})
}

func applyBolt(b *bbolt.Bucket, c change) error {
	switch c.verb {
	case put:
		return b.Put(c.key, c.value)
	case remove:
		return b.Delete(c.key)
	}
	// A cursor does not know where it is after it removed a row: it looks again.
	at := b.Cursor()
	for k, _ := at.Seek(c.key); bytes.HasPrefix(k, c.key); k, _ = at.Seek(c.key) {
		if err := at.Delete(); err != nil {
			return err
		}
	}
	return nil
}

func (s bolt) read(each func(t table, key, value []byte)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		for t := range tables {
			b := tx.Bucket([]byte(t.String()))
			if b == nil {
				return fmt.Errorf("there is no bucket %q", t)
			}
			if err := b.ForEach(func(k, v []byte) error { each(t, k, v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s bolt) close() error { return s.db.Close() }
