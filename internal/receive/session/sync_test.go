package session

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// resend sends a directory that is there as it should be, and returns what the server says until the batch is done.
func resend(t *testing.T, o Options) (p *peer, said []wire.Message) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "d"), &st); err != nil {
		t.Fatal(err)
	}
	p = greeted(t, newServer(t, dir, o), dir)
	p.say(&wire.Begin{Op: transport.Update}, &wire.Entry{Path: "d", Attr: wire.AttrOf(change.StatOf(&st))}, &wire.End{})
	for {
		m, err := p.r.Read()
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, m)
		if _, done := m.(*wire.Done); done {
			return p, said
		}
	}
}

// A process that was killed may have made what is there as it should be, and it may not be on the disk yet.
func TestP2WhatIsFoundAsItShouldBeIsDurableOnlyAfterASync(t *testing.T) {
	_, said := resend(t, Options{SyncEvery: time.Hour})
	for _, m := range said {
		if _, ok := m.(*wire.Durable); ok {
			t.Errorf("said %+v, and nothing was synced", m)
		}
	}
	p, said := resend(t, Options{SyncEvery: time.Millisecond})
	for {
		for _, m := range said {
			if d, ok := m.(*wire.Durable); ok {
				if d.Batch != 1 {
					t.Errorf("said %+v, want the one batch", d)
				}
				return
			}
		}
		m, err := p.r.Read()
		if err != nil {
			t.Fatal(err)
		}
		said = []wire.Message{m}
	}
}

// Whoever sends again what a batch without an end has done finds it as it should be.
func TestP2WhatABatchWithoutAnEndHasDoneWaitsForASync(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, Options{SyncEvery: time.Hour})
	before := s.sync.now()
	p := greeted(t, s, dir)
	p.say(&wire.Begin{Op: transport.Update}, &wire.Entry{Path: "d", Attr: dirAttr})
	p.nc.(*net.TCPConn).CloseWrite()
	_ = p.ends()
	if _, err := os.Stat(filepath.Join(dir, "d")); err != nil {
		t.Fatal(err)
	}
	if now := s.sync.now(); now != before+1 {
		t.Errorf("%d changes wait for a sync, want %d", now, before+1)
	}
}
