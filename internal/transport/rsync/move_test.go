package rsync

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"sersync/internal/change"
	"sersync/internal/filter"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/treetest"
)

// both writes a file with one time to the source and to the target, by other names.
func (r *rig) both(there, here, content string) {
	r.Helper()
	r.write(r.dst, there, content)
	r.write(r.src, here, content)
	for _, p := range []string{filepath.Join(r.dst, there), filepath.Join(r.src, here)} {
		r.must(os.Chtimes(p, past, past))
	}
}

// inode tells the file of the target, which must have one name.
func (r *rig) inode(name string) uint64 {
	r.Helper()
	info, err := os.Lstat(filepath.Join(r.dst, name))
	r.must(err)
	st := info.Sys().(*syscall.Stat_t)
	if info.Mode().IsRegular() && st.Nlink != 1 {
		r.Errorf("%s has %d links", name, st.Nlink)
	}
	return st.Ino
}

// move makes moves of which everything is known that is at the source.
func (r *rig) move(moves ...transport.Move) []bool {
	r.Helper()
	for i := range moves {
		dir := filepath.Join(r.src, string(moves[i].To))
		r.must(filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if rel, _ := filepath.Rel(r.src, p); p != dir && !slices.Contains(moves[i].Known, change.Path(rel)) {
				moves[i].Known = append(moves[i].Known, change.Path(rel))
			}
			return err
		}))
	}
	done, err := r.tr.Move(r.Context(), r.root, moves)
	r.must(err)
	return done
}

// What is moved is the very file that was there: not one byte of its content went over. What the target has otherwise stays behind.
func TestMoveTakesFilesAndSendsNone(t *testing.T) {
	eachKind(t, false, func(t *testing.T, r *rig) {
		r.both("old dir/f", "to/new \xc3\xa9/f", "a")
		r.both("old dir/sub/g", "to/new \xc3\xa9/sub/g", "b")
		r.both("old dir/mode", "to/new \xc3\xa9/mode", "c")
		r.both("old dir/other", "to/new \xc3\xa9/other", "d")
		r.write(r.dst, "old dir/other", "something else")
		r.write(r.dst, "old dir/extra", "e")
		r.write(r.src, "to/new \xc3\xa9/sub/added", "f")
		r.must(os.Chmod(filepath.Join(r.src, "to/new \xc3\xa9/mode"), 0o600))
		r.must(os.MkdirAll(filepath.Join(r.src, "to/new \xc3\xa9/empty/dir"), 0o755))
		f, g := r.inode("old dir/f"), r.inode("old dir/sub/g")
		if done := r.move(transport.Move{From: "old dir", To: "to/new \xc3\xa9"}); !done[0] {
			t.Fatal("it was not moved")
		}
		if r.inode("to/new \xc3\xa9/f") != f || r.inode("to/new \xc3\xa9/sub/g") != g {
			t.Error("a file is another one")
		}
		r.dstHas("to/new \xc3\xa9/mode", "c")
		for _, name := range []string{"old dir", "to/new \xc3\xa9/extra", "to/new \xc3\xa9/other", "to/new \xc3\xa9/sub/added"} {
			r.dstLacks(name)
		}
		r.mustApply(transport.Update, "to/new \xc3\xa9/other", "to/new \xc3\xa9/sub/added", "to/new \xc3\xa9/sub")
		treetest.Equal(t, r.src, r.dst, nil)
	})
}

// What follows another one comes after it, and what was there before is not mixed with it.
func TestMovesThatFollowOneAnother(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.both("next/f", "current/f", "new")
	r.both("current/f", "previous/f", "old")
	r.write(r.dst, "current/only", "in the old one")
	r.both("x/f", "y/f", "x")
	r.write(r.dst, "y/f", "z")
	r.must(os.Chtimes(filepath.Join(r.dst, "y/f"), past, past))
	r.must(os.Remove(filepath.Join(r.dst, "current/only")))
	moves := []transport.Move{{From: "next", To: "current"}, {From: "current", To: "previous"}, {From: "x", To: "y", Clear: true}}
	if done := r.move(moves...); slices.Contains(done, false) {
		t.Errorf("done: %v", done)
	}
	r.mustApply(transport.Update, "current", "previous", "y")
	treetest.Equal(t, r.src, r.dst, nil)
	r.dstHas("y/f", "x")
}

// What cannot be moved is left for the comparison: nothing of it is sent, nothing is removed.
func TestMoveThatIsNotDoneChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		moves  []transport.Move
		change func(*Options)
		lines  []string
	}{
		"a swap":                          {moves: []transport.Move{{From: "a", To: "b"}, {From: "b", To: "a"}}},
		"not there":                       {moves: []transport.Move{{From: "gone", To: "new"}}},
		"gone from the source":            {moves: []transport.Move{{From: "a", To: "away", Known: []change.Path{"away/f"}}}},
		"a name that a daemon would take": {moves: []transport.Move{{From: "a", To: "b*", Known: []change.Path{"b*/f"}}}},
		"a trash":                         {moves: []transport.Move{{From: "old", To: "new"}}, change: func(o *Options) { o.Trash = true }},
		"refused":                         {moves: []transport.Move{{From: "old", To: "new"}}, lines: []string{"refuse options = link-dest"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Lines: c.lines}}}, c.change)
			r.both("a/f", "b/f", "a")
			r.both("b/f", "a/f", "b")
			r.both("old/f", "new/f", "c")
			if done := r.move(c.moves...); slices.Contains(done, true) {
				t.Errorf("done: %v", done)
			}
			r.dstHas("a/f", "a")
			r.dstHas("b/f", "b")
			r.dstHas("old/f", "c")
			r.dstLacks("new/f")
			r.dstLacks(filter.TrashName)
		})
	}
}
