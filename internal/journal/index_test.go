package journal

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

func file(ino uint64, links uint32) change.Stat {
	return change.Stat{Mode: unix.S_IFREG | 0o644, Dev: 1, Ino: ino, Links: links, Size: 10}
}

func dir(ino uint64) change.Stat {
	return change.Stat{Mode: unix.S_IFDIR | 0o755, Dev: 1, Ino: ino, Links: 2}
}

func set(j *Journal, p change.Path, st change.Stat) { j.Record(scan.Finding{Path: p, Stat: st}) }

// tree is an index of root, d, d/e, d/e/f, d/g.
func tree() *Journal {
	j := New(0)
	set(j, change.Root, dir(1))
	set(j, "d", dir(2))
	set(j, "d/e", dir(3))
	set(j, "d/e/f", file(4, 1))
	set(j, "d/g", file(5, 1))
	return j
}

func TestIndexKnowsWhatItWasTold(t *testing.T) {
	every := change.Stat{
		Mode: unix.S_IFREG | 0o4755, UID: 1 << 31, GID: 2, Links: 1, Dev: 1 << 40, Ino: 1 << 60,
		Size: 1 << 50, Mtime: -5, Ctime: 1 << 62,
	}
	device := change.Stat{Mode: unix.S_IFBLK | 0o600, Links: 1, Dev: 3, Ino: 9, Rdev: 1<<40 | 7}
	j := tree()
	for p, st := range map[change.Path]change.Stat{"every": every, "device": device, change.Root: dir(7)} {
		set(j, p, st)
		same(t, "stat of "+p.String(), j.Stat(p), st)
	}
	same(t, "stat of a name that is not there", j.Stat("d/g/x"), change.Stat{})
	j.Record(scan.Finding{Path: "d", Unsure: true})
	same(t, "stat after an unsure look", j.Stat("d"), dir(2))
}

func TestIndexCountsAndForgets(t *testing.T) {
	tests := map[string]struct {
		do      func(*Journal)
		indexed int
		below   int // what is below d
	}{
		"as it was":                      {func(*Journal) {}, 4, 3},
		"a file removed":                 {func(j *Journal) { set(j, "d/g", change.Stat{}) }, 3, 2},
		"removed twice":                  {func(j *Journal) { set(j, "d/g", change.Stat{}); set(j, "d/g", change.Stat{}) }, 3, 2},
		"a directory removed":            {func(j *Journal) { set(j, "d", change.Stat{}) }, 0, 0},
		"the root gone":                  {func(j *Journal) { set(j, change.Root, change.Stat{}) }, 0, 0},
		"the root a file":                {func(j *Journal) { set(j, change.Root, file(9, 1)) }, 0, 0},
		"a directory replaced by a file": {func(j *Journal) { set(j, "d", file(9, 1)) }, 1, 0},
		"a directory by a directory":     {func(j *Journal) { set(j, "d", dir(9)) }, 4, 3},
		"a file replaced by a directory": {func(j *Journal) { set(j, "d/g", dir(9)); set(j, "d/g/h", file(10, 1)) }, 5, 4},
		"a name below a file":            {func(j *Journal) { set(j, "d/g/x", file(9, 1)) }, 4, 3},
		"a name below nothing":           {func(j *Journal) { set(j, "no/x", file(9, 1)) }, 4, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			j := tree()
			test.do(j)
			if n := j.Indexed(); n != test.indexed {
				t.Errorf("the index counts %d, want %d", n, test.indexed)
			}
			if n := len(j.Below(change.Root)); n != test.indexed {
				t.Errorf("below the root are %d, want %d", n, test.indexed)
			}
			if n := len(j.Below("d")); n != test.below {
				t.Errorf("below d are %d, want %d", n, test.below)
			}
		})
	}
}

func TestBelowNamesChildrenBeforeTheirParents(t *testing.T) {
	j := tree()
	below := j.Below(change.Root)
	for i, p := range below {
		if p != "d" && slices.Index(below, p.Parent()) < i {
			t.Errorf("%v stands before %v", p.Parent(), p)
		}
	}
	names := j.Names("d")
	slices.Sort(names)
	same(t, "names", names, []string{"e", "g"})
	same(t, "names of a file", j.Names("d/g"), []string(nil))
}

func TestLinksAreTheOtherNames(t *testing.T) {
	two := file(20, 2)
	tests := map[string]struct {
		do   func(*Journal)
		want []change.Path
	}{
		"two names":                      {func(*Journal) {}, []change.Path{"d/a", "d/e/b"}},
		"a third":                        {func(j *Journal) { set(j, "c", file(20, 3)) }, []change.Path{"c", "d/a", "d/e/b"}},
		"one removed":                    {func(j *Journal) { set(j, "d/a", change.Stat{}) }, []change.Path{"d/e/b"}},
		"one renamed over":               {func(j *Journal) { set(j, "d/a", file(21, 1)) }, []change.Path{"d/e/b"}},
		"one renamed over another":       {func(j *Journal) { set(j, "d/g", two); set(j, "d/a", change.Stat{}) }, []change.Path{"d/e/b", "d/g"}},
		"its directory removed":          {func(j *Journal) { set(j, "d/e", change.Stat{}) }, []change.Path{"d/a"}},
		"its directory a file":           {func(j *Journal) { set(j, "d/e", file(22, 1)) }, []change.Path{"d/a"}},
		"the root gone":                  {func(j *Journal) { set(j, change.Root, change.Stat{}) }, nil},
		"another file system":            {func(j *Journal) { st := two; st.Dev = 2; set(j, "c", st) }, []change.Path{"d/a", "d/e/b"}},
		"a directory of the same number": {func(j *Journal) { set(j, "c", dir(20)) }, []change.Path{"d/a", "d/e/b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			j := tree()
			set(j, "d/a", two)
			set(j, "d/e/b", two)
			test.do(j)
			got := j.Links("elsewhere", two)
			slices.Sort(got)
			same(t, "links", got, test.want)
			if test.want == nil && len(j.index.links) > 0 {
				t.Errorf("links are left: %v", j.index.links)
			}
		})
	}
}

// A directory is not told when a file in it gets a second name elsewhere.
func TestLinksKnowANameLookedAtWhenItWasTheOnlyOne(t *testing.T) {
	tests := map[string]struct {
		do   func(*Journal)
		want []change.Path
	}{
		"as it was":             {func(*Journal) {}, []change.Path{"d/g"}},
		"renamed":               {func(j *Journal) { set(j, "h", file(5, 1)); set(j, "d/g", change.Stat{}) }, []change.Path{"h"}},
		"removed":               {func(j *Journal) { set(j, "d/g", change.Stat{}) }, nil},
		"removed with all":      {func(j *Journal) { set(j, "d", change.Stat{}) }, nil},
		"replaced":              {func(j *Journal) { set(j, "d/g", file(6, 1)) }, nil},
		"looked at meanwhile":   {func(j *Journal) { set(j, "d/g", file(5, 2)) }, []change.Path{"d/g"}},
		"a third name is known": {func(j *Journal) { set(j, "c", file(5, 3)) }, []change.Path{"c", "d/g"}},
	}
	for name, test := range tests {
		for when, asked := range map[string]bool{"asked first": true, "asked then": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				j := tree()
				st := file(5, 3)
				if asked {
					same(t, "links", j.Links("new", st), []change.Path{"d/g"})
				}
				test.do(j)
				got := j.Links("new", st)
				slices.Sort(got)
				same(t, "links", got, test.want)
				set(j, change.Root, change.Stat{})
				if len(j.index.links)+len(j.index.single) > 0 {
					t.Errorf("links are left: %v %v", j.index.links, j.index.single)
				}
			})
		}
	}
}

func TestCensusCountsWhatWentAfterItHadBeenThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(0)
		record := func(p change.Path, st change.Stat, mark bool) {
			j.Record(scan.Finding{Path: p, Stat: st, Mark: mark})
		}
		is := func(paths int, gone uint64) {
			t.Helper()
			if p, g := j.Census(); p != paths || g != gone {
				t.Errorf("%d paths, %d gone; want %d, %d", p, g, paths, gone)
			}
		}
		record("start", dir(1), false)
		record("start/f", file(2, 1), false)
		record("new", dir(3), true)
		record("new/f", file(4, 1), true)
		is(4, 0)
		record("new", change.Stat{}, true) // as young as that
		is(2, 0)
		record("start", change.Stat{}, true)
		is(0, 2)
		record("old", file(5, 1), true)
		time.Sleep(settledAfter * time.Second)
		record("old", change.Stat{}, true)
		is(0, 3)
	})
}

func TestNamedFindsAllNamesOfTheFilesThatAreAskedFor(t *testing.T) {
	j := tree()
	set(j, "d/e/h", file(6, 2))
	set(j, "i", file(6, 2))
	set(j, "gone", file(7, 1))
	set(j, "gone", change.Stat{})
	asked := map[change.Inode]bool{{Dev: 1, Ino: 4}: true, {Dev: 1, Ino: 6}: true, {Dev: 1, Ino: 7}: true, {Dev: 2, Ino: 5}: true}
	got := j.Named(func(file change.Inode) bool { return asked[file] })
	same(t, "names", got, map[change.Path]change.Inode{
		"d/e/f": {Dev: 1, Ino: 4}, "d/e/h": {Dev: 1, Ino: 6}, "i": {Dev: 1, Ino: 6},
	})
}

// What is being written is in doubt until it was looked at again.
func TestARowIsInDoubtWhileItsFileIsWritten(t *testing.T) {
	j := tree()
	doubted := func(want bool) {
		t.Helper()
		st, sure := j.Undoubted("d/g")
		if sure == want || sure && st != j.Stat("d/g") {
			t.Errorf("the row is %+v, sure %v", st, sure)
		}
	}
	doubted(false)
	j.Doubt("d/g")
	doubted(true)
	set(j, "d/g", file(9, 1))
	doubted(false)
	if _, sure := j.Undoubted("absent"); sure {
		t.Error("what has no row is known")
	}
}
