package native

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// stale is how many files an old session is sending when a new one begins.
const stale = 300

// pairOf are two sources with the same names, old and new content.
func pairOf(t *testing.T) (old, now *os.File, paths []change.Path) {
	was, oldRoot := source(t)
	is, newRoot := source(t)
	for i := range stale {
		name := fmt.Sprintf("d%d/f%d", i%7, i)
		write(t, was, name, bytes.Repeat([]byte("o"), 20<<10))
		past := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(was, name), past, past); err != nil {
			t.Fatal(err)
		}
		write(t, is, name, bytes.Repeat([]byte("n"), 20<<10))
		paths = append(paths, change.Path(name))
	}
	return oldRoot, newRoot, paths
}

// newest fails when there is anything but the content of the new session.
func newest(t *testing.T, dir string, paths []change.Path) {
	t.Helper()
	for _, p := range paths {
		content, err := os.ReadFile(filepath.Join(dir, string(p)))
		if v := versionOf(content); err != nil || v != "n 20480" {
			t.Fatalf("%q is %s, %v, after a new session put its own there", p, v, err)
		}
	}
}

func TestAnOldSessionPutsNothingInPlaceAfterANewOneBegan(t *testing.T) {
	for _, place := range []int64{64 << 10, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint("stopped after ", place), func(t *testing.T) {
			r := newRig(t)
			way := newRelay(t, r.address)
			was, is, paths := pairOf(t)
			old := r.transport(Options{Dial: by(way)})
			defer old.Close()
			stopped := make(chan struct{})
			way.after(up, place, func() {
				way.hangLocked()
				close(stopped)
			})
			over := make(chan error, 1)
			go func() {
				_, err := old.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: was, Paths: paths})
				over <- err
			}()
			<-stopped
			now := r.transport(Options{})
			defer now.Close()
			send(t, now, transport.Batch{Op: transport.Update, Root: is, Paths: paths})
			newest(t, r.dir, paths)
			way.pass()
			state(t, <-over, transport.Away)
			newest(t, r.dir, paths)
		})
	}
}

// What has arrived is in the receiver's own buffers, and it is at work on it.
func TestANewSessionWaitsForWhatAnOldOneIsDoing(t *testing.T) {
	r := newRig(t)
	was, is, paths := pairOf(t)
	for range 5 {
		old, now := r.transport(Options{}), r.transport(Options{})
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = old.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: was, Paths: paths})
		}()
		poll(t, "the first file of the old session", func() bool {
			content, err := os.ReadFile(filepath.Join(r.dir, string(paths[0])))
			return err == nil && bytes.HasPrefix(content, []byte("o"))
		})
		send(t, now, transport.Batch{Op: transport.Update, Root: is, Paths: paths})
		newest(t, r.dir, paths)
		<-over
		newest(t, r.dir, paths)
		old.Close()
		now.Close()
	}
}

func TestSessionsOfOtherNamesAreLeftAlone(t *testing.T) {
	r := newRig(t)
	way := newRelay(t, r.address)
	was, is, paths := pairOf(t)
	one := r.transport(Options{Dial: by(way), Target: "one"})
	defer one.Close()
	stopped, over := make(chan struct{}), make(chan error, 1)
	way.after(up, 1<<20, func() {
		way.hangLocked()
		close(stopped)
	})
	go func() {
		_, err := one.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: was, Paths: paths})
		over <- err
	}()
	<-stopped
	two := r.transport(Options{Target: "two"})
	defer two.Close()
	send(t, two, transport.Batch{Op: transport.Update, Root: is, Paths: paths[:1]})
	way.pass()
	if err := <-over; err != nil {
		t.Errorf("a batch of another name: %v", err)
	}
}
