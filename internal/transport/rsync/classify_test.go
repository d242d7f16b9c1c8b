package rsync

import (
	"slices"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// The messages are those of rsync 3.1 (no role in brackets) to 3.5.
func TestMessagesAreAttributedToPaths(t *testing.T) {
	paths := []change.Path{"f", "d", "d/f", "d/.dot", "d/e/f", `q" -> "f`, "new\nline", "a b", change.Path("d/" + string(make250())), change.Root}
	for _, test := range []struct {
		line   string
		l      line
		failed []change.Path
		limits []change.Path
		retry  bool
		broken bool
	}{
		{line: `rsync: [sender] send_files failed to open "/src/f": Permission denied (13)`, failed: []change.Path{"f"}, retry: true},
		{line: `rsync: send_files failed to open "/src/d/f": Input/output error (5)`, failed: []change.Path{"d/f"}, retry: true},
		{line: `rsync: [receiver] mkstemp "sub/d/.f.AbC123" (in mod) failed: Permission denied (13)`, failed: []change.Path{"d/f"}, retry: true},
		{line: `rsync: mkstemp "d/.dot.AbC123" (in mod) failed: Permission denied (13)`, failed: []change.Path{"d/.dot"}, retry: true},
		{line: `rsync: [receiver] mkstemp "d/.` + string(make250()[:240]) + `.AbC123" (in mod) failed: Operation not permitted (1)`, failed: []change.Path{change.Path("d/" + string(make250()))}},
		{line: `rsync: [receiver] rename "sub/d/.f.AbC123" (in mod) -> "d/f": Is a directory (21)`, failed: []change.Path{"d/f"}, retry: true},
		{line: `rsync: [generator] recv_generator: mkdir "d" (in mod) failed: Permission denied (13)`, failed: []change.Path{"d", "d/.dot", "d/e/f", "d/f", change.Path("d/" + string(make250()))}, retry: true},
		{line: `rsync: [generator] recv_generator: mkdir "d/e" (in mod) failed: Permission denied (13)`, failed: []change.Path{"d/e/f"}, retry: true},
		{line: `rsync: [generator] symlink "new\#012line" (in mod) -> "a" failed: File name too long (36)`, failed: []change.Path{"new\nline"}},
		{line: `rsync: [receiver] mkdir "d/.sersync-partial" (in mod) failed: Permission denied (13)`, l: updateLarge, failed: []change.Path{"d/.dot", "d/e/f", "d/f", change.Path("d/" + string(make250()))}, retry: true},
		{line: `rsync: [generator] delete_file: unlink(d/f) failed: Operation not permitted (1)`, l: remove, failed: []change.Path{"d/f"}},
		{line: `rsync: [generator] delete_file: rmdir(f/deep/below) failed: Permission denied (13)`, l: remove, failed: []change.Path{"f"}, retry: true},
		{line: `rsync: [generator] opendir "f/deep" failed: Permission denied (13)`, l: remove, failed: []change.Path{"f"}, retry: true},
		{line: `rsync: [generator] opendir "f/deep" failed: Permission denied (13)`, broken: true},
		{line: `could not make way for new regular file: f`, failed: []change.Path{"f"}, retry: true},
		{line: `ERROR: d/f failed verification -- update discarded.`, failed: []change.Path{"d/f"}, retry: true},
		{line: `WARNING: d/f failed verification -- update discarded (will try again).`},
		{line: `file has vanished: "/src/d/f"`},
		{line: `rsync: [sender] link_stat "/src/f/below" failed: Not a directory (20)`},
		{line: `rsync: [sender] link_stat "/src/f/below" failed: Not a directory (20)`, l: remove, failed: []change.Path{"f"}, retry: true},
		{line: `rsync: [generator] failed to set times on "." (in mod): Operation not permitted (1)`, limits: []change.Path{change.Root}},
		{line: `rsync: [generator] chown "d/f" (in mod) failed: Operation not permitted (1)`, limits: []change.Path{"d/f"}},
		{line: `rsync: [receiver] chown "/sub/d/.f.AbC123" failed: Invalid argument (22)`, limits: []change.Path{"d/f"}},
		{line: `rsync: [receiver] failed to set permissions on "d/f" (in mod): Input/output error (5)`, failed: []change.Path{"d/f"}, retry: true},
		{line: `rsync: [receiver] rsync_xal_set: lsetxattr("d/f","user.x") failed: Operation not supported (95)`, limits: []change.Path{"d/f"}},
		{line: `rsync: [receiver] failed to write xattr user.rsync.%stat for "d/.f.AbC123" (in mod): Operation not supported (95)`, limits: []change.Path{"d/f"}},
		{line: `rsync: [generator] failed to write xattr user.rsync.%stat for "d" (in mod): Input/output error (5)`, failed: []change.Path{"d", "d/.dot", "d/e/f", "d/f", change.Path("d/" + string(make250()))}, retry: true},
		{line: `rsync: [generator] set_acl: sys_acl_set_file(d/f, ACL_TYPE_ACCESS): Operation not supported (95)`, limits: []change.Path{"d/f"}},
		{line: `cannot delete non-empty directory: d`, l: remove, failed: []change.Path{"d", "d/.dot", "d/e/f", "d/f", change.Path("d/" + string(make250()))}, retry: true},
		{line: `cannot delete non-empty directory: d`, l: removeExact},
		{line: `rsync: [sender] send_files failed to open "/src/nobody/knows": Permission denied (13)`, broken: true},
		{line: `rsync: something new happened`, broken: true},
		{line: `Killed`, broken: true},
		{line: tooMuch, broken: true},
	} {
		c := newClassifier(&Options{Module: "mod", Dir: "sub"}, "/src", test.l, paths)
		var report transport.Report
		err := c.verdict(ending{code: exitPartial, stderr: test.line + "\nrsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]\n", began: true}, 0, &report)
		if (err != nil) != test.broken {
			t.Errorf("%s: %v", test.line, err)
			continue
		}
		if got := pathsOf(report.Failed); !slices.Equal(got, sorted(test.failed)) {
			t.Errorf("%s: failed %q, want %q", test.line, got, test.failed)
		}
		if got := pathsOf(report.Limits); !slices.Equal(got, test.limits) {
			t.Errorf("%s: limits %q, want %q", test.line, got, test.limits)
		}
		for _, f := range report.Failed {
			if f.Retry != test.retry {
				t.Errorf("%s: retry %v for %q", test.line, f.Retry, f.Path)
			}
		}
	}
}

// A daemon that changed its root to the module names what is in it from there.
func TestMessagesOfADaemonThatChangedItsRootAreAttributed(t *testing.T) {
	c := newClassifier(&Options{Module: "m"}, "/src", update, []change.Path{"d", "d/f", "g"})
	var report transport.Report
	err := c.verdict(ending{code: exitPartial, stderr: `rsync: [generator] failed to set times on "/d" (in m): Operation not permitted (1)
rsync: [receiver] mkstemp "/d/.f.dc2RhB" (in m) failed: Operation not permitted (1)
`}, 0, &report)
	if err != nil || !slices.Equal(pathsOf(report.Failed), []change.Path{"d/f"}) || !slices.Equal(pathsOf(report.Limits), []change.Path{"d"}) {
		t.Errorf("%+v, %v", report, err)
	}
}

// A name that looks like the rest of a message makes itself fail, and never hides another's failure.
func TestNameThatLooksLikeAMessageHidesNothing(t *testing.T) {
	paths := []change.Path{"q", `q" (in m) -> "f`}
	c := newClassifier(&Options{Module: "m"}, "/src", update, paths)
	var report transport.Report
	err := c.verdict(ending{code: exitPartial, stderr: `rsync: [generator] symlink "q" (in m) -> "f" failed: Permission denied (13)` + "\n"}, 0, &report)
	if err != nil || len(report.Failed) != 2 {
		t.Errorf("%+v, %v; want both to fail", report, err)
	}
}

func TestPartialExitWithoutAnyReasonIsNotUnderstood(t *testing.T) {
	c := newClassifier(&Options{Module: "m"}, "/src", update, []change.Path{"f"})
	var report transport.Report
	err := c.verdict(ending{code: exitPartial, stderr: "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1)\n"}, 0, &report)
	state(t, err, transport.Broken)
}

func TestReasonOfTheOtherSideCountsMoreThanTheCutConnection(t *testing.T) {
	c := newClassifier(&Options{Host: "h", Dir: "/a"}, "/src", update, []change.Path{"f"})
	err := c.verdict(ending{code: exitStream, began: true, stderr: `rsync: [Receiver] mkdir "/a/b" failed: No such file or directory (2)
rsync error: error in file IO (code 11) at main.c(808) [Receiver=3.5.0]
rsync: connection unexpectedly closed (9 bytes received so far) [sender]
rsync error: error in rsync protocol data stream (code 12) at io.c(285) [sender=3.5.0]
`}, time.Minute, &transport.Report{})
	if e := state(t, err, transport.Misconfigured); e.Unclean {
		t.Errorf("unclean: %v", err)
	}
}

// What a receiver says is lost at times with the ssh that was to pass it on; its exit code is not. Nobody knows why then, until a later try.
func TestReceiverWhoseWordsAreLostIsTriedAgain(t *testing.T) {
	for _, code := range []int{exitFiles, exitFileIO} {
		c := newClassifier(&Options{}, "/src", update, []change.Path{"f"})
		e := state(t, c.verdict(ending{code: code, began: true, stderr: "\n"}, time.Minute, &transport.Report{}), transport.Away)
		if e.Unclean || e.Lost {
			t.Errorf("code %d: %+v", code, e)
		}
	}
}

// A disk that gives errors for everything is a state of the target; one bad place on it is that of a path.
func TestDiskThatFailsIsToldFromABadPlace(t *testing.T) {
	bad := func(name string) string {
		return `rsync: [receiver] mkstemp "/` + name + `.AbC123" (in m) failed: Input/output error (5)` + "\n"
	}
	for _, test := range []struct {
		stderr string
		failed int
	}{{bad(".f") + bad(".g"), 0}, {bad(".f"), 1}, {`rsync: [sender] read errors mapping "/src/f": Input/output error (5)` + "\n", 1}} {
		c := newClassifier(&Options{Module: "m"}, "/src", update, []change.Path{"f", "g"})
		var report transport.Report
		err := c.verdict(ending{code: exitPartial, stderr: test.stderr}, 0, &report)
		if test.failed == 0 {
			if e := state(t, err, transport.Broken); e.Hint != hintDisk {
				t.Errorf("%s: hint %q", test.stderr, e.Hint)
			}
		} else if err != nil || len(report.Failed) != test.failed {
			t.Errorf("%s: %+v, %v", test.stderr, report, err)
		}
	}
}

// A quota that is used up is as good as a full disk, whichever of the two exit codes comes with it.
func TestQuotaThatIsUsedUpIsFull(t *testing.T) {
	for _, code := range []int{exitPartial, exitFileIO} {
		c := newClassifier(&Options{Module: "m"}, "/src", update, []change.Path{"f", "g"})
		err := c.verdict(ending{code: code, began: true, stderr: `rsync: [receiver] write failed on "/f" (in m): Disk quota exceeded (122)` + "\n"}, time.Minute, &transport.Report{})
		state(t, err, transport.Full)
	}
}

func make250() []byte {
	name := make([]byte, 250)
	for i := range name {
		name[i] = 'l'
	}
	return name
}

func pathsOf(failures []transport.Failure) []change.Path {
	var paths []change.Path
	for _, f := range failures {
		paths = append(paths, f.Path)
	}
	return paths
}

func sorted(paths []change.Path) []change.Path { return slices.Sorted(slices.Values(paths)) }

func FuzzUnescapeUndoesWhatRsyncEscapes(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("new\nline"))
	f.Add([]byte(`\#012`))
	f.Add([]byte(`\#\#134012\`))
	f.Add([]byte("\xff\\#\x01"))
	f.Fuzz(func(t *testing.T, name []byte) {
		if got := unescape(escape(name)); got != string(name) {
			t.Errorf("%q became %q", name, got)
		}
	})
}

// escape does what filtered_fwrite of rsync's log.c does in the C locale.
func escape(name []byte) []byte {
	var out []byte
	for i, c := range name {
		looksEscaped := c == '\\' && len(name) > i+4 && name[i+1] == '#' && isDigit(name[i+2]) && isDigit(name[i+3]) && isDigit(name[i+4])
		if c != '\t' && (c < ' ' || c > '~') || looksEscaped {
			out = append(out, '\\', '#', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
			continue
		}
		out = append(out, c)
	}
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func FuzzParseItemTakesWhatItIsGiven(f *testing.F) {
	f.Add([]byte("<f+++++++++|2|45|a|b"))
	f.Add([]byte("*deleting  |0|0|d/"))
	f.Add([]byte(".d..t......|4096|0|./"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if it, ok := parseItem(line); ok && !it.path.Valid() {
			t.Errorf("%q gave the path %q", line, it.path)
		}
	})
}
