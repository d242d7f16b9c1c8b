package session

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// next is the next message of those types that matter.
func (p *peer) next() wire.Message {
	p.Helper()
	for {
		m, err := p.r.Read()
		if err != nil {
			p.Fatal(err)
		}
		switch m.(type) {
		case *wire.Alive, *wire.Durable:
		default:
			return m
		}
	}
}

// A sender that is older than the key of a sum sends none, and is understood; what has another sum than it says is not shown, with a key or without.
func TestContentIsProvenWithAKeyOrWithout(t *testing.T) {
	content := bytes.Repeat([]byte("content "), int(fileAttr.Size)/8)
	for _, key := range []*delta.Key{nil, {1, 2, 3}} {
		for _, right := range []bool{true, false} {
			dir := t.TempDir()
			p := connect(t, newServer(t, dir, Options{}), dir)
			version := wire.Keyed
			if key == nil {
				version = wire.Keyed - 1
			}
			p.say(&wire.Hello{Oldest: wire.Oldest, Newest: version, Target: "t", Session: [wire.SessionSize]byte{1}})
			if w, ok := p.next().(*wire.Welcome); !ok || w.Version != version {
				t.Fatalf("%+v in the place of a welcome in version %d", w, version)
			}
			p.say(&wire.Begin{Op: transport.UpdateLarge}, offer("f"))
			if m, ok := p.next().(*wire.Want); !ok || !m.Last {
				t.Fatalf("%+v in the place of a wish for the content", m)
			}
			if key != nil {
				p.say(&wire.Content{Op: delta.Op{Kind: delta.Start, Key: *key}})
			}
			sum, err := delta.Diff(t.Context(), bytes.NewReader(content), fileAttr.Size, nil, key, func(op delta.Op) error {
				p.say(&wire.Content{Op: op})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !right {
				sum[31] ^= 1
			}
			p.say(&wire.Content{Op: delta.Op{Kind: delta.End, Sum: sum}}, &wire.ContentEnd{Whole: true}, &wire.End{})
			want := wire.Failed
			if right {
				want = wire.Changed
			}
			if r, ok := p.next().(*wire.Result); !ok || r.Outcome != want {
				t.Errorf("key %v, right %v: %+v", key != nil, right, r)
			}
			got, err := os.ReadFile(filepath.Join(dir, "f"))
			if right && (err != nil || !bytes.Equal(got, content)) || !right && !os.IsNotExist(err) {
				t.Errorf("key %v, right %v: %d bytes are there, %v", key != nil, right, len(got), err)
			}
		}
	}
}
