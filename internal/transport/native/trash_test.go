package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// A target that knows no trash would lose what goes: it gets nothing, and says why.
func TestATargetThatIsTooOldForATrashSaysSo(t *testing.T) {
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	old := func(trash bool) *Transport {
		i := newImpostor(t, &wire.Welcome{Version: wire.Trash - 1, Program: "0.9", Facts: welcome.Facts}, func(m wire.Message, _ func(wire.Message) error) error {
			t.Errorf("it was told %T", m)
			return nil
		})
		i.tr.o.Trash = trash
		return i.tr
	}
	for what, err := range map[string]error{
		"a check":  second(old(true).Check(t.Context())),
		"a batch":  second(old(true).Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})),
		"undelete": old(false).Removed(t.Context(), "", nil, func(transport.Removed) error { return nil }),
	} {
		if te := state(t, err, transport.Misconfigured); !strings.Contains(te.Error(), "0.9, which is too old for a trash") || te.Hint == "" {
			t.Errorf("%s: %v, hint %q", what, te, te.Hint)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Large and sparse files, more of them than are asked for at a time, and more content than is on the way at a time.
func TestFetchOfMuchArrives(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{Trash: true})
	defer tr.Close()
	day := filepath.Join(r.dir, filter.TrashName, "2021-02-03")
	large := random(40 << 20)
	write(t, day, "d/large", large)
	if err := os.Truncate(filepath.Join(day, "d/large"), 60<<20); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		write(t, day, fmt.Sprintf("d/%d/f", i), []byte("x"))
		write(t, day, fmt.Sprintf("d/many/f%d", i), []byte("x"))
	}
	into, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	report, err := tr.Fetch(t.Context(), into, "2021-02-03", []change.Path{"d"})
	if err != nil || len(report.Failed) > 0 || report.Files != 1001 {
		t.Fatalf("%+v, %v", report, err)
	}
	got, err := os.ReadFile(filepath.Join(into.Name(), "d/large"))
	if err != nil || len(got) != 60<<20 || string(got[:len(large)]) != string(large) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(into.Name(), "d/large"), &st); err != nil || st.Blocks*512 > 50<<20 {
		t.Errorf("the hole takes room: %d bytes, %v", st.Blocks*512, err)
	}
	if files, _ := filepath.Glob(filepath.Join(into.Name(), "d/*/f*")); len(files) != 1000 {
		t.Errorf("%d small files came", len(files))
	}
}

// Whoever rules the target may say what he likes about a trash.
func TestWhatAReceiverSaysOfATrashEndsWithAnError(t *testing.T) {
	names := func(name string) wire.Message {
		return &wire.Listing{Last: true, Entries: []wire.Listed{{Attr: wire.Attr{Mode: unix.S_IFDIR}}, {Name: name, Attr: wire.Attr{Mode: unix.S_IFREG}}}}
	}
	for name, answer := range map[string]func(wire.Message, func(wire.Message) error) error{
		"results":          endless[*wire.Dir](func(int) wire.Message { return &wire.Result{} }),
		"empty listings":   endless[*wire.Dir](func(int) wire.Message { return &wire.Listing{} }),
		"ends":             endless[*wire.Dir](func(int) wire.Message { return &wire.Done{} }),
		"names that leave": endless[*wire.Dir](func(int) wire.Message { return names("../f") }),
		"paths":            endless[*wire.Dir](func(int) wire.Message { return names("a/b") }),
	} {
		t.Run(name, func(t *testing.T) {
			tr := newImpostor(t, welcome, answer).tr
			block := make(chan struct{})
			time.AfterFunc(time.Second, func() { tr.mu.Lock(); defer tr.mu.Unlock(); tr.drop(); close(block) })
			if err := tr.Removed(t.Context(), "", nil, func(transport.Removed) error { return nil }); err == nil {
				t.Error("there is no error")
			}
			<-block
		})
	}
	more := &wire.Content{}
	more.Op.Kind, more.Op.Data = 1, []byte("more than it has")
	answer := func(m wire.Message, say func(wire.Message) error) error {
		f, ok := m.(*wire.Fetch)
		if !ok {
			return nil
		}
		return errors.Join(say(&wire.Entry{Path: f.Path, Attr: wire.Attr{Mode: unix.S_IFREG, Size: 1}}), say(more))
	}
	into, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	if _, err := newImpostor(t, welcome, answer).tr.Fetch(t.Context(), into, "2021-02-03", []change.Path{"f"}); err == nil {
		t.Error("more content than a file has is no error")
	}
	if left, _ := os.ReadDir(into.Name()); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// An undelete is somebody else than the sender: both go on.
func TestTheTrashIsReadBesideASender(t *testing.T) {
	r := newRigOf(t, t.TempDir(), session.Options{})
	sender, reader := r.transport(Options{Trash: true, Target: "sender"}), r.transport(Options{Target: "reader"})
	defer sender.Close()
	defer reader.Close()
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	update := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
	remove := transport.Batch{Op: transport.Remove, Root: root, Paths: []change.Path{"f"}}
	for range 3 {
		send(t, sender, update)
		send(t, sender, remove)
		found := 0
		err := reader.Removed(t.Context(), transport.Day(time.Now()), nil, func(transport.Removed) error { found++; return nil })
		if err != nil || found != 1 {
			t.Errorf("found %d, %v", found, err)
		}
	}
	if _, losses := sender.Synced(); losses > 0 {
		t.Errorf("the sender lost %d connections", losses)
	}
}
