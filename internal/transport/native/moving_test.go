package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// movingSize is so large that a file is read in several steps, between which Progress tells.
const movingSize = 6 << 20

// sending is a large file that something happens to each time a part of it was read.
func sending(t *testing.T, op transport.Op, happens func(src string)) (dir string, report transport.Report, err error) {
	r := newRig(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	write(t, src, "d/f", bytes.Repeat([]byte("a"), movingSize))
	report, err = tr.Apply(context.Background(), transport.Batch{
		Op: op, Root: root, Paths: []change.Path{"d/f"}, Progress: func(int64) { happens(src) },
	})
	return r.dir, report, err
}

func lacks(t *testing.T, dir, name string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
		t.Errorf("%q is there: %v", name, err)
	}
}

func TestAFileThatIsRewrittenAllTheTimeFailsAndIsNeverAMixture(t *testing.T) {
	letter := byte('a')
	dir, report, err := sending(t, transport.UpdateLarge, func(src string) {
		letter = 'a' + (letter-'a'+1)%26
		write(t, src, "d/f", bytes.Repeat([]byte{letter}, movingSize))
	})
	if err != nil || len(report.Failed) != 1 || !report.Failed[0].Retry || !strings.Contains(report.Failed[0].Err.Error(), "changes all the time") {
		t.Errorf("report %+v, %v, want a path that failed and is tried again", report, err)
	}
	lacks(t, dir, "d/f")
}

func TestAFileThatIsRewrittenOnceArrivesAsItIsThen(t *testing.T) {
	for name, rewrite := range map[string]func(path string){
		"in place": func(path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("b"), movingSize), 0o644); err != nil {
				t.Error(err)
			}
		},
		"in place, with its old time": func(path string) {
			st, err := os.Stat(path)
			if err != nil {
				t.Error(err)
				return
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte("b"), movingSize), 0); err != nil {
				t.Error(err)
			}
			if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
				t.Error(err)
			}
		},
		"and made longer": func(path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte("b"), movingSize+1), 0); err != nil {
				t.Error(err)
			}
		},
		"by another file": func(path string) {
			if err := os.WriteFile(path+".new", bytes.Repeat([]byte("b"), movingSize), 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			dir, report, err := sending(t, transport.UpdateLarge, func(src string) {
				once.Do(func() { rewrite(filepath.Join(src, "d/f")) })
			})
			if err != nil || len(report.Failed) > 0 {
				t.Fatalf("report %+v, %v", report, err)
			}
			content, err := os.ReadFile(filepath.Join(dir, "d/f"))
			if v := versionOf(content); err != nil || !strings.HasPrefix(v, "a ") && !strings.HasPrefix(v, "b ") {
				t.Errorf("the file is %s, %v", v, err)
			}
		})
	}
}

func TestAFileThatOnlyGrowsArrivesAsItsBeginning(t *testing.T) {
	dir, report, err := sending(t, transport.UpdateLarge, func(src string) {
		f, err := os.OpenFile(filepath.Join(src, "d/f"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := f.Write([]byte("a line\n")); err != nil {
			t.Error(err)
		}
	})
	if err != nil || len(report.Failed) > 0 {
		t.Fatalf("report %+v, %v", report, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "d/f"))
	if v := versionOf(content); err != nil || v != "a 6291456" {
		t.Errorf("the file is %s, %v", v, err)
	}
}

func TestASmallFileThatIsReadTwiceIsStill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for round := range 200 {
		// It has just been written: its times are no proof.
		content := bytes.Repeat([]byte{byte(round)}, 100)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, st, err := readAll(fd, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := new(buffers).readStill(fd, st)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("read %q, %v", got, err)
		}
		// In the same step of the clock: the second version has the times of the first one.
		if err := os.WriteFile(path, []byte("less"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := new(buffers).readStill(fd, st); err != errMoves {
			t.Fatalf("a file that has become shorter is read as %q, %v", got, err)
		}
		unix.Close(fd)
	}
}

func TestAFileThatGoesWhileItIsSentIsLeftAsItIsThere(t *testing.T) {
	for name, happens := range map[string]func(path string) error{
		"removed": os.Remove,
		"a symlink": func(path string) error {
			_ = os.Remove(path)
			return os.Symlink("/etc/passwd", path)
		},
		"a directory": func(path string) error {
			_ = os.Remove(path)
			return os.Mkdir(path, 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			dir, report, err := sending(t, transport.UpdateLarge, func(src string) {
				once.Do(func() {
					if err := happens(filepath.Join(src, "d/f")); err != nil {
						t.Error(err)
					}
					// What was read of it is no proof any more.
					if err := os.Chtimes(filepath.Join(src, "d"), time.Now(), time.Now()); err != nil {
						t.Error(err)
					}
				})
			})
			if err != nil {
				t.Fatalf("report %+v, %v", report, err)
			}
			if target, err := os.Readlink(filepath.Join(dir, "d/f")); err == nil && target != "/etc/passwd" {
				t.Errorf("a link to %q", target)
			}
			if content, err := os.ReadFile(filepath.Join(dir, "d/f")); err == nil && name != "a symlink" && versionOf(content) != "a 6291456" {
				t.Errorf("the file is %s", versionOf(content))
			}
		})
	}
}

// A directory of the source changes places with a symlink to one that is nobody's business.
func TestNothingOutsideOfTheSourceIsSent(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	outside := t.TempDir()
	var paths []change.Path
	for _, name := range []string{"d/small", "d/large", "d/e/f"} {
		size := 100
		if name == "d/large" {
			size = 200 << 10
		}
		write(t, src, name, bytes.Repeat([]byte("a"), size))
		write(t, outside, strings.TrimPrefix(name, "d/"), bytes.Repeat([]byte("s"), size))
		paths = append(paths, change.Path(name))
	}
	stop, swapping := make(chan struct{}), sync.WaitGroup{}
	swapping.Go(func() {
		d, aside, link := filepath.Join(src, "d"), filepath.Join(src, "aside"), filepath.Join(src, "link")
		if err := os.Symlink(outside, link); err != nil {
			t.Error(err)
		}
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(d, aside)
			_ = os.Rename(link, d)
			_ = os.Rename(d, link)
			_ = os.Rename(aside, d)
		}
	})
	for round := range 200 {
		_, err := tr.Apply(context.Background(), transport.Batch{Op: transport.UpdateContent, Root: root, Paths: paths})
		if err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for _, p := range paths {
			full := filepath.Join(r.dir, string(p))
			if content, err := os.ReadFile(full); err == nil && !strings.HasPrefix(versionOf(content), "a ") {
				t.Fatalf("%q is %s", p, versionOf(content))
			}
			if round%3 == 0 {
				_ = os.RemoveAll(full)
			}
		}
		if _, err := os.Readlink(filepath.Join(r.dir, "d")); err == nil {
			_ = os.Remove(filepath.Join(r.dir, "d"))
		}
	}
	close(stop)
	swapping.Wait()
}

// The number of a file that went is given to another one at once: that it is longer does not make it the same file, which has only grown.
func TestAFileThatCameLaterIsNotTakenForOneThatGrew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	born := func(at int64) bool {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return bornBefore(fd, at)
	}
	create := func() {
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	create()
	made := time.Now().UnixNano()
	if born(made - int64(time.Minute)) {
		t.Error("it was not there a minute ago")
	}
	for clock() <= made {
		continue
	}
	offered := clock()
	if !born(offered) {
		t.Error("it was there when it was offered")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	create()
	if born(offered) {
		t.Error("another one, which came later, is taken for it")
	}
}

func TestALargeFileThatCannotTakeItsPlaceFailsForItself(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	write(t, src, "f", bytes.Repeat([]byte("a"), movingSize))
	write(t, src, "other", []byte("other"))
	write(t, r.dir, "f/in/the/way", []byte("x"))
	report, err := tr.Apply(context.Background(), transport.Batch{Op: transport.UpdateLarge, Root: root, Paths: []change.Path{"f"}, Keep: true})
	if err != nil || len(report.Failed) != 1 || report.Failed[0].Path != "f" {
		t.Errorf("report %+v, %v, want f to fail", report, err)
	}
	report, err = tr.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"other"}})
	if err != nil || len(report.Failed) > 0 {
		t.Errorf("afterwards: report %+v, %v", report, err)
	}
}

// With much memory for each change the garbage collector runs during many of them, and they take milliseconds.
func TestASmallChangeTakesLittleMemory(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	const changes, most = 50, 40 << 10
	var before, after runtime.MemStats
	for n := range changes + 1 {
		if n == 1 { // the first one makes the connection
			runtime.ReadMemStats(&before)
		}
		write(t, src, "f", []byte(fmt.Sprint("version ", n)))
		send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / changes; each > most {
		t.Errorf("both sides took %d bytes for each change, want %d at the most", each, most)
	}
}

// What somebody saw of a small file before is what is sent only while it is still so: anything else is read as it is now.
func TestASmallFileThatIsNotAsItWasSeenIsReadAsItIs(t *testing.T) {
	for name, happens := range map[string]func(path string) error{
		"nothing":       func(string) error { return nil },
		"longer":        func(path string) error { return os.WriteFile(path, []byte("entirely new, and longer"), 0o644) },
		"shorter":       func(path string) error { return os.WriteFile(path, []byte("new"), 0o644) },
		"as long":       func(path string) error { return os.WriteFile(path, []byte("NEWS"), 0o644) },
		"another mode":  func(path string) error { return os.Chmod(path, 0o600) },
		"another mtime": func(path string) error { return os.Chtimes(path, time.Now(), time.Now()) },
		"another file": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("else"), 0o644), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("seen"), 0o644); err != nil {
				t.Fatal(err)
			}
			seen := statOf(t, path)
			settle(seen) // so that the change shows, and what was seen is a proof where there is none
			if err := happens(path); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			got, st, err := new(buffers).read(fd, seen)
			if err != nil || !bytes.Equal(got, want) || st != statOf(t, path) {
				t.Errorf("read %q of %+v, %v; want %q of %+v", got, st, err, want, statOf(t, path))
			}
			if name == "nothing" && st != seen {
				t.Errorf("it is %+v, and was seen as %+v", st, seen)
			}
		})
	}
}

// What took the place of a small file is not read.
func TestWhatTookThePlaceOfASmallFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("seen"), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := statOf(t, path)
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, wire.MaxInline+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{dir, filepath.Join(dir, "pipe"), large} {
		fd, err := unix.Open(other, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := new(buffers).read(fd, seen); err != errOther {
			t.Errorf("%s is read as %q, %v", other, got, err)
		}
		unix.Close(fd)
	}
}

func statOf(t *testing.T, path string) change.Stat {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return change.StatOf(&st)
}
