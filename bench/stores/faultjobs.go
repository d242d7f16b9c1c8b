package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// killedAt is the number of the last transaction of a store that was killed; the first is the fill.
const killedAt = 21

// killJob fills a store, writes some transactions, and ends without closing it: main kills the process.
func killJob(c contestant, dir string, dirs int) (r results, err error) {
	m := newModel()
	txs := m.fill(dirs, batch)
	for m.number < killedAt {
		txs = append(txs, m.steady(500, 50))
	}
	s, err := c.open(dir)
	if err != nil {
		return r, err
	}
	return r, commitAll(s, txs)
}

// commitsJob writes transactions until it is ended, and prints the number of each that is said to be on the disk.
func commitsJob(c contestant, dir string, dirs int) (r results, err error) {
	s, err := c.open(dir)
	if err != nil {
		return r, err
	}
	m := newModel()
	txs := m.fill(dirs, batch)
	for {
		if err := commitAll(s, txs); err != nil {
			return r, err
		}
		fmt.Println(m.number)
		txs = []transaction{m.steady(300, 40)}
	}
}

// ballast is the file that fills a disk.
const ballast = "ballast"

// fullJob writes until the disk is full, tries again, makes space, and goes on with the same transaction, as the writer
// of a journal that is kept in memory would.
func fullJob(c contestant, dir string, dirs int) (r results, err error) {
	s, err := c.open(dir)
	if err != nil {
		return r, err
	}
	m := newModel()
	if err := commitAll(s, m.fill(dirs, batch)); err != nil {
		return r, err
	}
	full := filepath.Join(filepath.Dir(dir), ballast)
	if err := fillDisk(full); err != nil {
		return r, err
	}
	var tx transaction
	for err == nil {
		tx = m.burst(5000)
		err = s.commit(tx.changes)
	}
	r.Outcome = fmt.Sprintf("error %q", short(err.Error(), dir))
	if err := s.commit(tx.changes); err == nil {
		r.Outcome += ", the next try succeeds"
	}
	if got, err := contents(s); err != nil || !got.Whole || got.Number != m.number-1 {
		r.Outcome += fmt.Sprintf(", reading while full: %+v %v", got, err)
	}
	if err := os.Remove(full); err != nil {
		return r, err
	}
	unix.Sync()
	then, err := goOn(c, s, dir, tx)
	if err != nil {
		return r, err
	}
	r.Outcome += "; with space again " + then
	if s, err = c.open(dir); err != nil {
		return r, err
	}
	if r.Content, err = contents(s); err == nil && (!r.Content.Whole || r.Content.Number != m.number) {
		r.Outcome += fmt.Sprintf("; WRONG content %+v", r.Content)
	}
	return r, errors.Join(err, s.close())
}

// goOn commits what failed before, with the same handle or else with a new one, and closes it.
func goOn(c contestant, s store, dir string, tx transaction) (said string, err error) {
	err = s.commit(tx.changes)
	if err == nil {
		return "the same handle goes on", s.close()
	}
	said = fmt.Sprintf("the same handle fails: %q, ", short(err.Error(), dir))
	if err := s.close(); err != nil {
		said += fmt.Sprintf("close: %q, ", short(err.Error(), dir))
	}
	if s, err = c.open(dir); err != nil {
		return said, err
	}
	if err := s.commit(tx.changes); err != nil {
		return said, errors.Join(err, s.close())
	}
	return said + "opened anew it goes on", s.close()
}

// fillDisk writes a file until there is no space but for one MiB.
func fillDisk(name string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(name), &fs); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-1<<20)
}
