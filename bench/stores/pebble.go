package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

const (
	importPebble  = `"github.com/cockroachdb/pebble/v2"`
	trivialPebble = `
	db, err := pebble.Open(os.Args[1], nil)
	fmt.Println(err, db.Set([]byte("k"), []byte("v"), pebble.Sync))
	it, err := db.NewIter(nil)
	fmt.Println(it.First(), err)`
)

type pebbles struct{ db *pebble.DB }

// openPebble opens with the defaults of pebble and its newest format. A table is the first byte of a key.
func openPebble(dir string) (store, error) {
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	return pebbles{db}, nil
}

// quiet is pebble's own logger without its chatter: what is fatal ends the process.
type quiet struct{}

func (quiet) Infof(string, ...any) {}

func (quiet) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (quiet) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, fatalMark+format+"\n", args...)
	os.Exit(1)
}

func (s pebbles) commit(changes []change) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, c := range changes {
		key := append([]byte{byte(c.table)}, c.key...)
		var err error
		switch c.verb {
		case put:
			err = b.Set(key, c.value, nil)
		case remove:
			err = b.Delete(key, nil)
		case removePrefix:
			err = b.DeleteRange(key, after(key), nil)
		}
		if err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (s pebbles) read(each func(t table, key, value []byte)) error {
	at, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := at.First(); ok; ok = at.Next() {
		key := at.Key()
		each(table(key[0]), key[1:], at.Value())
	}
	return errors.Join(at.Error(), at.Close())
}

func (s pebbles) close() error { return s.db.Close() }
