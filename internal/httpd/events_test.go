package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sersync/internal/change"
	"sersync/internal/replicate"
	"sersync/internal/transport"
)

func (b *backend) Events() *Feed { return &b.feed }

// follow reads along until the test ends, and returns what is read.
func follow(t *testing.T, socket string) (events chan Event, ended chan error) {
	t.Helper()
	events, ended = make(chan Event, 8), make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		ended <- NewClient(socket).Events(t.Context(), func() { close(begun) }, func(e Event) error {
			events <- e
			return nil
		})
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatal(err)
	}
	return events, ended
}

func TestEventsArriveAsTheyHappen(t *testing.T) {
	b := newBackend()
	socket, stop := serve(t, b, requestTime)
	one, ended := follow(t, socket)
	two, _ := follow(t, socket)
	b.feed.Batch(replicate.BatchDone{
		Source: "www", Target: "rsync://h/m", Op: transport.Update, Files: 7, Bytes: 12, Took: time.Second,
		Paths: []change.Path{"a", "b\n", "c", "d", "e", "f", "g"},
	})
	b.feed.Batch(replicate.BatchDone{Source: "www", Target: "t", Op: transport.Remove, Paths: []change.Path{"a"}, Err: errors.New("away")})
	b.feed.Batch(replicate.BatchDone{Source: "www", Paths: []change.Path{"a", "b"}, Failed: []transport.Failure{{Path: "b", Err: errors.New("no")}}})
	want := []Event{
		{
			Source: "www", Target: "rsync://h/m", Op: "update", Paths: 7, Names: []string{"a", `"b\n"`, "c", "d", "e"},
			Files: 7, Bytes: 12, Took: 1,
		},
		{Source: "www", Target: "t", Op: "remove", Paths: 1, Names: []string{"a"}, Error: "away"},
		{Source: "www", Op: "update", Paths: 2, Names: []string{"a", "b"}, Failed: 1, Failure: "no"},
	}
	for _, events := range []chan Event{one, two} {
		got := []Event{<-events, <-events, <-events}
		if got[0].Time.IsZero() {
			t.Error("an event has no time")
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Event{}, "Time")); diff != "" {
			t.Error(diff)
		}
	}
	stop()
	if err := <-ended; kindOf(err) != Stopping {
		t.Errorf("error %v", err)
	}
}

func TestReaderThatDoesNotReadHoldsNobodyUpAndIsToldWhatItMissed(t *testing.T) {
	b := newBackend()
	socket, _ := serve(t, b, requestTime)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /v1/events HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = answer.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}

	// Far more than the kernel and the queue hold: it would not come to an end if it waited.
	const sent = 20 * queueMax
	name := change.Path(strings.Repeat("x", 3000))
	for range sent {
		b.feed.Batch(replicate.BatchDone{Source: "www", Paths: []change.Path{name}})
	}
	seen, dropped := 0, 0
	for seen+dropped < sent {
		text, err := answer.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if dropped += e.Dropped; e.Dropped == 0 {
			seen++
		}
	}
	if seen+dropped != sent || dropped == 0 || seen < queueMax {
		t.Errorf("%d events seen, %d dropped, of %d", seen, dropped, sent)
	}
}

func TestReadersAreBounded(t *testing.T) {
	b := newBackend()
	socket, _ := serve(t, b, requestTime)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, readersMax)
	for range readersMax {
		begun := make(chan struct{})
		go func() {
			ended <- NewClient(socket).Events(ctx, func() { close(begun) }, func(Event) error { return nil })
		}()
		<-begun
	}
	err := NewClient(socket).Events(ctx, func() { t.Error("one too many reads along") }, nil)
	if kindOf(err) != Failed || !strings.Contains(err.Error(), "read along already") {
		t.Errorf("error %v", err)
	}
	cancel()
	for range readersMax {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	// Those who went leave their places.
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		b.feed.mu.Lock()
		left := len(b.feed.readers)
		b.feed.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%d places are still taken", left)
		}
	}
}
