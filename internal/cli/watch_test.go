package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is what a command has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n")
}

// watching is a `sersync watch` that runs.
type watching struct {
	t        *testing.T
	out, err output
	code     chan int
}

func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	w := &watching{t: t, code: make(chan int, 1)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a := &app{out: &w.out, err: &w.err}
		w.code <- a.report(a.dispatch(ctx, append([]string{"watch"}, args...)))
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return w
}

// until does something again and again, until a line is printed.
func (w *watching) until(line string, do func()) {
	w.t.Helper()
	w.poll("the line "+line, do, func() bool { return slices.Contains(w.out.lines(), line) || slices.Contains(w.err.lines(), line) })
}

func (w *watching) poll(what string, do func(), holds func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for do(); !holds(); {
		select {
		case <-again.C:
			do()
		case <-deadline:
			w.t.Fatalf("not within %v: %s\nout:\n%q\nerr:\n%q", patience, what, w.out.lines(), w.err.lines())
		}
	}
}

// without are the lines that do not end so.
func (w *watching) without(suffix string) []string {
	var lines []string
	for _, l := range w.out.lines() {
		if !strings.HasSuffix(l, suffix) {
			lines = append(lines, l)
		}
	}
	return lines
}

func nothing() {}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The lines of the tutorial, one after the other: what is printed, and how many lines.
func TestTutorialInotifywait(t *testing.T) {
	const format = "%w%f"
	write := func(name, text string) { must(t, os.WriteFile(name, []byte(text), 0o600)) }
	t.Run("create", func(t *testing.T) {
		dir := t.TempDir()
		w := startWatch(t, "-mrq", "--timefmt", "%Y", "--format", "%T "+format, "-e", "create", dir)
		year := time.Now().Format("2006 ")
		w.until(year+dir+"/.ready", func() { os.Remove(dir + "/.ready"); write(dir+"/.ready", "") })
		must(t, os.Mkdir(dir+"/d", 0o700))
		write(dir+"/a", "")
		w.until(year+dir+"/a", nothing)
		// In the new directory too.
		w.until(year+dir+"/d/.ready", func() { os.Remove(dir + "/d/.ready"); write(dir+"/d/.ready", "") })
		write(dir+"/d/\xff b", "")
		w.until(year+dir+"/d/\xff b", nothing)
		if got, want := w.without(".ready"), []string{year + dir + "/d", year + dir + "/a", year + dir + "/d/\xff b"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("delete", func(t *testing.T) {
		dir := t.TempDir()
		write(dir+"/a", "")
		w := startWatch(t, "-mrq", "--format", format, "-e", "delete", dir)
		w.until(dir+"/.ready", func() { write(dir+"/.ready", ""); os.Remove(dir + "/.ready") })
		must(t, os.Remove(dir+"/a"))
		w.until(dir+"/a", nothing)
		if got := w.without(".ready"); !slices.Equal(got, []string{dir + "/a"}) {
			t.Errorf("%q", got)
		}
	})
	t.Run("close_write", func(t *testing.T) {
		dir := t.TempDir()
		w := startWatch(t, "-mrq", "--format", format, "-e", "close_write", dir)
		w.until(dir+"/.ready", func() { write(dir+"/.ready", "") })
		// touch t; echo 123 > t. The kernel makes one of two that are the same while nobody has read the first.
		write(dir+"/t", "")
		w.until(dir+"/t", nothing)
		write(dir+"/t", "123\n")
		write(dir+"/end", "")
		w.until(dir+"/end", nothing)
		if got, want := w.without(".ready"), []string{dir + "/t", dir + "/t", dir + "/end"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("moved_to", func(t *testing.T) {
		dir := t.TempDir()
		write(dir+"/a", "")
		w := startWatch(t, "-mrq", "--format", format, "-e", "moved_to", dir)
		probe := func(in string) {
			w.until(in+"/.ready", func() { write(in+"/.new", ""); must(t, os.Rename(in+"/.new", in+"/.ready")) })
		}
		probe(dir)
		must(t, os.Rename(dir+"/a", dir+"/b"))
		w.until(dir+"/b", nothing)
		must(t, os.Mkdir(dir+"/new", 0o700))
		probe(dir + "/new")
		must(t, os.Rename(dir+"/b", dir+"/new/b"))
		w.until(dir+"/new/b", nothing)
		// A directory that moves takes its name along for what follows.
		must(t, os.Rename(dir+"/new", dir+"/old"))
		w.until(dir+"/old", nothing)
		must(t, os.Rename(dir+"/old/b", dir+"/old/c"))
		w.until(dir+"/old/c", nothing)
		want := []string{dir + "/b", dir + "/new/b", dir + "/old", dir + "/old/c"}
		if got := w.without(".ready"); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Without -m the first event ends it, and the code says whether it was asked for.
func TestWatchEndsAfterTheFirstEvent(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		do   func(dir string) error
		want int
		out  string
	}{
		{"asked", []string{"-e", "create,delete"}, func(dir string) error { return os.Mkdir(dir+"/d", 0o700) }, 0, "%s/ CREATE,ISDIR d"},
		{"recursive", []string{"-r", "-e", "delete"}, func(dir string) error {
			return os.Rename(dir+"/keep", dir+"/x") // is no event that was asked for, and so is none
		}, -1, ""},
		{"gone", []string{"-e", "create"}, func(dir string) error { return os.RemoveAll(dir) }, 1, ""},
		{"excluded", []string{"-e", "create", "--excludei", `/SKIP\.`, "-t", "1"}, func(dir string) error { return os.Mkdir(dir+"/skip.d", 0o700) }, 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			must(t, os.MkdirAll(dir+"/keep", 0o700))
			w := startWatch(t, append(test.args, dir)...)
			w.until("Watches established.", nothing)
			must(t, test.do(dir))
			if test.want < 0 {
				must(t, os.RemoveAll(dir+"/x"))
				test.want, test.out = 0, "%s/ DELETE,ISDIR x"
			}
			select {
			case code := <-w.code:
				if code != test.want {
					t.Errorf("code %d, want %d", code, test.want)
				}
			case <-time.After(patience):
				t.Fatal("it did not end")
			}
			if got, want := strings.Join(w.out.lines(), "\n"), strings.ReplaceAll(test.out, "%s", dir); got != want {
				t.Errorf("printed %q, want %q", got, want)
			}
		})
	}
}

func TestWatchSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"-e", "bogus", dir}, 1, `"bogus" is no event`},
		{[]string{"--format", "%T", dir}, 1, "--timefmt was not specified"},
		{[]string{"--exclude", "(", dir}, 1, "`exclude' regular expression"},
		{[]string{dir + "/none"}, 1, "Couldn't watch " + dir + "/none: No such file or directory"},
		{[]string{"-q", "-t", "1", dir}, 2, ""},
		{[]string{"-mrqq", "-t", "1", dir}, 2, ""},
		{nil, 1, "no files specified"},
		{[]string{"-t", "x", dir}, 1, "invalid argument"},
	} {
		w := startWatch(t, test.args...)
		select {
		case code := <-w.code:
			if said := strings.Join(w.err.lines(), "\n"); code != test.want || !strings.Contains(said, test.says) || test.says == "" && said != "" {
				t.Errorf("%q: code %d, want %d, said %q", test.args, code, test.want, said)
			}
		case <-time.After(patience):
			t.Fatalf("%q did not end", test.args)
		}
	}
}

// A directory that left the tree is not watched any more: it says of itself that it moved, and that is all.
func TestWatchLetsGoOfWhatMovedOut(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(dir+"/d", 0o700))
	w := startWatch(t, "-mr", "-e", "create,moved_from,move_self", dir)
	w.until("Watches established.", nothing)
	must(t, os.Rename(dir+"/d", out+"/d"))
	w.until(dir+"/d/ MOVE_SELF ", nothing)
	must(t, os.Mkdir(out+"/d/unseen", 0o700))
	must(t, os.Mkdir(dir+"/end", 0o700))
	w.until(dir+"/ CREATE,ISDIR end", nothing)
	want := []string{dir + "/ MOVED_FROM,ISDIR d", dir + "/d/ MOVE_SELF ", dir + "/ CREATE,ISDIR end"}
	if got := w.out.lines(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A link below the directory may lead out of it, or into itself.
func TestWatchFollowsNoLinkBelow(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	must(t, os.Symlink(out, dir+"/out"))
	must(t, os.Symlink(".", dir+"/loop"))
	w := startWatch(t, "-mr", "-e", "create", dir)
	w.until("Watches established.", nothing)
	must(t, os.Symlink(out, dir+"/later"))
	must(t, os.Mkdir(out+"/unseen", 0o700))
	must(t, os.Mkdir(dir+"/end", 0o700))
	w.until(dir+"/ CREATE,ISDIR end", nothing)
	want := []string{dir + "/ CREATE later", dir + "/ CREATE,ISDIR end"}
	if got := w.out.lines(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
