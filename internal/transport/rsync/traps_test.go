package rsync

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

func (r *rig) dstHas(name, content string) {
	r.Helper()
	got, err := os.ReadFile(filepath.Join(r.dst, name))
	if err != nil || string(got) != content {
		r.Errorf("target %q: got %.60q, %v; want %q", name, got, err, content)
	}
}

func (r *rig) dstLacks(name string) {
	r.Helper()
	if _, err := os.Lstat(filepath.Join(r.dst, name)); !os.IsNotExist(err) {
		r.Errorf("target has %q (%v)", name, err)
	}
}

// state is the typed error that err must be.
func state(t *testing.T, err error, kind transport.Kind) *transport.Error {
	t.Helper()
	var e *transport.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error of kind %v", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %v (%v), want %v", e.Kind, err, kind)
	}
	return e
}

func TestRecursiveParamDoesNotRecurseALiveBatch(t *testing.T) {
	for _, params := range [][]string{{"-artuz"}, {"-r", "-lptgoD"}, {"-a", "--recursive"}, {"-vzrtopg", "--progress"}} {
		r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Params = params })
		r.write(r.src, "d/inside", "x")
		r.write(r.src, "f", "y")
		r.mustApply(transport.Update, "d", "f")
		r.dstLacks("d/inside")
		r.dstHas("f", "y")
		if _, err := os.Stat(filepath.Join(r.dst, "d")); err != nil {
			t.Errorf("%v: %v", params, err)
		}
	}
}

func TestUpdateParamBindsSweepsAndNotLiveChanges(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Params = []string{"-artuz"} })
	r.write(r.src, "f", "older content")
	old := filepath.Join(r.src, "f")
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	r.write(r.dst, "f", "newer")
	sweep := func() (found []change.Path) {
		err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{""}}, func(d transport.Difference) error {
			if !d.Dir {
				found = append(found, d.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := sweep(); len(found) > 0 {
		t.Errorf("a sweep with -u found %q, which is newer there", found)
	}
	r.mustApply(transport.Update, "f")
	r.dstHas("f", "older content")
}

func TestSymlinkInPlaceOfAParentSendsNothingFromOutside(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	secrets := t.TempDir()
	r.write(secrets, "shadow", "secret")
	r.write(r.src, "ok", "fine")
	if err := os.Symlink(secrets, filepath.Join(r.src, "d")); err != nil {
		t.Fatal(err)
	}
	report, err := r.apply(transport.Update, "d/shadow", "ok")
	if err != nil {
		t.Fatal(err)
	}
	r.dstHas("ok", "fine")
	r.dstLacks("d/shadow")
	if len(report.Failed) != 1 || report.Failed[0].Path != "d/shadow" || !errors.Is(report.Failed[0].Err, syscall.EACCES) || !report.Failed[0].Retry {
		t.Errorf("failed %+v, want d/shadow for want of permission", report.Failed)
	}
}

func TestUIDThatDoesNotOwnTheModuleComesToRest(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{Global: []string{"uid = nobody", "gid = nogroup"}}, nil)
	if err := os.Chmod(r.dst, 0o777); err != nil {
		t.Fatal(err)
	}
	r.write(r.src, "f", "x")
	r.mustApply(transport.Update, "f")
	r.dstHas("f", "x")
	report, err := r.apply(transport.Update, change.Root)
	if err != nil || len(report.Failed) > 0 || len(report.Limits) != 1 || report.Limits[0].Path != change.Root {
		t.Errorf("attributes of the root: %+v, %v; want one limit", report, err)
	}
}

// A file system without xattrs has no place for what fake super keeps; the content arrives, and nothing is tried again.
func TestFakeSuperWithoutXattrsComesToRest(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "ramfs", 0, "mode=777")
	r := newRig(t, rsyncdtest.Options{
		Global:  []string{"uid = nobody", "gid = nogroup", "fake super = yes"},
		Modules: []rsyncdtest.Module{{Name: "data", Dir: dir}},
	}, nil)
	r.write(r.src, "d/f", "x")
	if err := os.Symlink("f", filepath.Join(r.src, "d/l")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := r.apply(transport.Update, "d", "d/f", "d/l")
		if err != nil || len(report.Failed) > 0 || len(report.Limits) == 0 {
			t.Errorf("%+v, %v; want limits", report, err)
		}
		r.dstHas("d/f", "x")
	}
}

// rsync says nothing of owners that it drops.
func TestCheckSaysThatATargetDropsOwners(t *testing.T) {
	nobody := []string{"uid = nobody", "gid = nogroup"}
	for name, test := range map[string]struct {
		lines  []string
		change func(*Options)
		drops  bool
	}{
		"root":                      {},
		"nobody":                    {lines: nobody, drops: true},
		"fake super":                {lines: append([]string{"fake super = yes"}, nobody...)},
		"owners unwanted":           {lines: nobody, change: func(o *Options) { o.Params = []string{"-rlpt"} }},
		"owners unwanted after all": {lines: nobody, change: func(o *Options) { o.Params = []string{"-a", "--no-o"} }},
		"question refused":          {lines: append([]string{"refuse options = usermap"}, nobody...)},
		"root is not there":         {lines: nobody, change: func(o *Options) { o.Dir = "later" }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rsyncdtest.Options{Global: test.lines}, test.change)
			if err := os.Chmod(r.dst, 0o777); err != nil {
				t.Fatal(err)
			}
			facts, err := r.tr.Check(t.Context())
			drops := slices.ContainsFunc(facts.Limits, func(l string) bool { return strings.HasPrefix(l, "owners") })
			if err != nil || drops != test.drops {
				t.Errorf("limits %q, %v; want the owners among them: %v", facts.Limits, err, test.drops)
			}
		})
	}
}

func TestUnwritableDirectoryFailsItsPathsAndNoOthers(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{Global: []string{"uid = nobody", "gid = nogroup"}}, nil)
	if err := os.Chmod(r.dst, 0o777); err != nil {
		t.Fatal(err)
	}
	r.write(r.dst, "closed/old", "x")
	r.write(r.src, "closed/f", "x")
	r.write(r.src, "closed/"+strings.Repeat("long", 60), "x")
	r.write(r.src, "closed/d/below", "x")
	r.write(r.src, "open", "x")
	failing := []change.Path{"closed/d", "closed/d/below", "closed/f", change.Path("closed/" + strings.Repeat("long", 60))}
	report, err := r.apply(transport.Update, append(failing, "open")...)
	if err != nil {
		t.Fatal(err)
	}
	var failed []change.Path
	for _, f := range report.Failed {
		failed = append(failed, f.Path)
	}
	if len(failed) != len(failing) {
		t.Errorf("failed %q, want %q", failed, failing)
	}
	r.dstHas("open", "x")
	report, err = r.apply(transport.Remove, "closed/old", "gone")
	if err != nil || len(report.Failed) != 1 || report.Failed[0].Path != "closed/old" {
		t.Errorf("removal: %+v, %v; want closed/old to fail", report, err)
	}
}

func TestRefusedDeleteStillUpdates(t *testing.T) {
	for _, refuse := range []string{"refuse options = delete", "refuse options = delete*"} {
		r := newRig(t, rsyncdtest.Options{Global: []string{refuse}}, nil)
		r.write(r.src, "f", "x")
		r.write(r.dst, "gone", "x")
		r.mustApply(transport.Update, "f")
		_, err := r.apply(transport.Remove, "gone")
		if e := state(t, err, transport.RemovalsRefused); e.Hint == "" || e.Unclean {
			t.Errorf("%s: %+v", refuse, e)
		}
		r.dstHas("gone", "x")
		facts, err := r.tr.Check(t.Context())
		if refuse == "refuse options = delete" && (err != nil || len(facts.Limits) == 0) {
			t.Errorf("check: %+v, %v; want the limit", facts, err)
		}
	}
}

func TestStatesOfADaemonAreToldApart(t *testing.T) {
	modules := rsyncdtest.Options{Modules: []rsyncdtest.Module{
		{Name: "data"},
		{Name: "readonly", Lines: []string{"read only = yes"}},
		{Name: "elsewhere", Lines: []string{"hosts allow = 192.0.2.1", "hosts deny = *"}},
	}}
	open := t.TempDir()
	for name, test := range map[string]struct {
		change func(*Options)
		kind   transport.Kind
	}{
		"read-only module":      {func(o *Options) { o.Module = "readonly" }, transport.ReadOnly},
		"address not allowed":   {func(o *Options) { o.Module = "elsewhere" }, transport.Refused},
		"unknown module":        {func(o *Options) { o.Module = "nosuch" }, transport.Refused},
		"unknown user":          {func(o *Options) { o.User = "nobody" }, transport.Refused},
		"no password file":      {func(o *Options) { o.PasswordFile = "" }, transport.Refused},
		"missing password file": {func(o *Options) { o.PasswordFile = "/nonexistent" }, transport.Misconfigured},
		"open password file":    {func(o *Options) { o.PasswordFile = passwordFile(t, open, "open", 0o644) }, transport.Misconfigured},
		"wrong password":        {func(o *Options) { o.PasswordFile = passwordFile(t, open, "wrong", 0o600) }, transport.Refused},
		"missing directory":     {func(o *Options) { o.Dir = "no/such/dir" }, transport.Misconfigured},
		"missing program":       {func(o *Options) { o.Program = "no-such-rsync" }, transport.Misconfigured},
		"unknown option":        {func(o *Options) { o.Params = []string{"-a", "--nosuch"} }, transport.Misconfigured},
		"nobody listens":        {func(o *Options) { o.Port = 1 }, transport.Away},
		"no such host":          {func(o *Options) { o.Host = "no.such.host.invalid" }, transport.Away},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, modules, test.change)
			r.write(r.src, "f", "x")
			_, err := r.apply(transport.Update, "f")
			if e := state(t, err, test.kind); e.Unclean {
				t.Errorf("unclean: %v", err)
			}
			// A target that does not take updates is no limit of removals.
			_, err = r.apply(transport.Remove, "gone")
			state(t, err, test.kind)
			if name != "missing directory" { // the dry run of a check makes none
				_, err = r.tr.Check(t.Context())
				state(t, err, test.kind)
			}
		})
	}
}

func passwordFile(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("wrong\n"), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFullDiskIsAStateOfTheTarget(t *testing.T) {
	small := t.TempDir()
	mount(t, small, "tmpfs", 0, "size=256k")
	r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Dir: small}}}, nil)
	r.write(r.src, "f", strings.Repeat("x", 1<<20))
	_, err := r.apply(transport.Update, "f")
	state(t, err, transport.Full)
}

func TestReadOnlyFileSystemIsAStateOfTheTarget(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "tmpfs", syscall.MS_RDONLY, "")
	r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Dir: dir}}}, nil)
	r.write(r.src, "f", "x")
	_, err := r.apply(transport.Update, "f")
	state(t, err, transport.ReadOnly)
}

func mount(t *testing.T, dir, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(kind, dir, kind, flags, data); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

func TestMungedSymlinksComeToRest(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Lines: []string{"munge symlinks = yes"}}}}, nil)
	if err := os.Symlink("/etc/hosts", filepath.Join(r.src, "link")); err != nil {
		t.Fatal(err)
	}
	r.mustApply(transport.Update, "link", change.Root)
	err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{""}, Extras: true}, func(d transport.Difference) error {
		t.Errorf("a sweep found %+v", d)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSweepExcludesProtectAndHide(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.src, "a.php", "x")
	r.write(r.dst, "b.php", "x")
	r.write(r.dst, "d/.sersync-partial/large", "x")
	r.write(r.src, "d/f", "x")
	r.write(r.src, "info/f", "x")
	var found []change.Path
	err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{""}, Extras: true, Exclude: []string{"*.php", "info/*"}},
		func(d transport.Difference) error {
			if !d.Dir {
				found = append(found, d.Path)
			}
			return nil
		})
	if err != nil || len(found) != 1 || found[0] != "d/f" {
		t.Errorf("found %q, %v; want d/f", found, err)
	}
}

func TestRemovedRootIsSourceGone(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.dst, "kept", "x")
	if err := os.Remove(r.src); err != nil {
		t.Fatal(err)
	}
	_, err := r.apply(transport.Update, "kept")
	state(t, err, transport.SourceGone)
	_, err = r.apply(transport.Remove, "kept")
	state(t, err, transport.SourceGone)
	r.dstHas("kept", "x")
}

func TestWorkingDirectoryIsTheDescriptorAndNotItsName(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.src, "f", "the one that was opened")
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(r.src, moved); err != nil {
		t.Fatal(err)
	}
	r.write(r.src, "f", "an impostor")
	r.mustApply(transport.Update, "f")
	r.dstHas("f", "the one that was opened")
}

func TestMissingLocalTargetIsAwayAndIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unmounted")
	tr := open(t, Options{Dir: dir})
	defer tr.Close()
	src := t.TempDir()
	root, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	_, err = tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	state(t, err, transport.Away)
	_, err = tr.Check(t.Context())
	state(t, err, transport.Away)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory was made: %v", err)
	}
}

func TestSweepThatCannotReadTheSourceIsAnError(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	outside := t.TempDir()
	r.write(outside, "closed/f", "x")
	if err := os.Symlink(outside, filepath.Join(r.src, "d")); err != nil {
		t.Fatal(err)
	}
	err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{"d/closed"}, Extras: true}, func(d transport.Difference) error {
		if d.Extra {
			t.Errorf("reported %+v as an extra", d)
		}
		return nil
	})
	if e := state(t, err, transport.Broken); e.Unclean {
		t.Errorf("%+v: a dry run is never unclean", e)
	}
}

func TestLongListThatNobodyReadsEndsCleanly(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.Port = 1 })
	var paths []change.Path
	for i := range 3000 {
		paths = append(paths, change.Path(strings.Repeat("x", 100)+strconv.Itoa(i)))
	}
	_, err := r.apply(transport.Update, paths...)
	if e := state(t, err, transport.Away); e.Unclean {
		t.Errorf("%+v: the list was never read", e)
	}
}

// Whoever ends a comparison when the run behind it is over already has not seen all of it.
func TestSweepThatIsEndedAfterItsRunIsNoCompleteOne(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, func(o *Options) { o.NoWarm = true })
	r.write(r.src, "f", "x")
	r.write(r.src, "g", "x")
	enough := errors.New("enough")
	err := r.tr.Sweep(t.Context(), transport.Sweep{Root: r.root, Under: []change.Path{change.Root}}, func(transport.Difference) error {
		poll(t, "the end of the run", func() bool { return len(r.d.Children()) == 0 })
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("sweep: %v", err)
	}
}
