package replicate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"sersync/internal/filter"
	"sersync/internal/replicate"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync"
)

const mib = 1 << 20

// newLargeRig makes a rig whose large files are of 1 MiB and more, and go at kib KiB a second.
func newLargeRig(t *testing.T, kib int) *rig {
	t.Helper()
	r := newRig(t, func(r *rig) {
		o := r.target("one", func(o *rsync.Options) { o.Bandwidth = kib })
		o.Large = mib
		r.opts.Targets = []replicate.TargetOptions{o}
	})
	return r
}

// sending waits until a part of a large file is on the target.
func (r *rig) sending(name string) {
	r.t.Helper()
	r.eventually("the transfer of "+name+" begins", func() bool {
		found, _ := filepath.Glob(filepath.Join(r.daemon.Dir("one"), filepath.Dir(name), "."+filepath.Base(name)+".*"))
		for _, p := range found {
			if info, err := os.Stat(p); err == nil && info.Size() > 0 {
				return true
			}
		}
		return false
	})
}

func (r *rig) large(name string, size int) {
	r.t.Helper()
	r.must(os.MkdirAll(filepath.Dir(filepath.Join(r.dir, name)), 0o755))
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	r.must(os.WriteFile(filepath.Join(r.dir, name), content, 0o644))
}

// clients are the rsync processes that this source has started.
func clients(t testing.TB, module string) []int {
	t.Helper()
	var pids []int
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		dir := filepath.Dir(name)
		if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && bytes.Contains(line, []byte(module)) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// address is what the arguments of an rsync to the module hold.
func (r *rig) address(module string) string {
	return ":" + strconv.Itoa(r.daemon.Port()) + "/" + module
}

func TestLargeFileThatWasCutGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	r := newLargeRig(t, 4000)
	var sent atomic.Int64
	r.opts.OnBatch = func(b replicate.BatchDone) {
		if b.Op == transport.UpdateLarge && b.Err == nil {
			sent.Add(b.Bytes)
		}
	}
	r.start()
	r.large("d/big", 12*mib)
	r.eventually("a part has arrived", func() bool {
		found, _ := filepath.Glob(filepath.Join(r.daemon.Dir("one"), "d/.big.*"))
		for _, p := range found {
			if info, err := os.Stat(p); err == nil && info.Size() > 4*mib {
				return true
			}
		}
		return false
	})
	for _, pid := range clients(t, r.address("one")) {
		r.must(syscall.Kill(pid, syscall.SIGKILL))
	}
	r.equal("one")
	if n := sent.Load(); n == 0 || n > 11*mib {
		t.Errorf("%d bytes were sent after the cut: it began anew", n)
	}
}

func TestLargeFileLetsOthersPass(t *testing.T) {
	t.Parallel()
	r := newLargeRig(t, 2000)
	r.start()
	r.large("big", 16*mib)
	r.sending("big")
	r.write("small", "x")
	r.eventually("the small file arrives", func() bool { return r.exists("one", "small") })
	if info, err := os.Stat(filepath.Join(r.daemon.Dir("one"), "big")); err == nil && info.Size() == 16*mib {
		t.Error("the large file was there first: nothing was shown")
	}
	// What is written while it is sent is sent, too.
	f, err := os.OpenFile(filepath.Join(r.dir, "big"), os.O_WRONLY|os.O_APPEND, 0)
	r.must(err)
	_, err = f.WriteString("more")
	r.must(err)
	r.must(f.Close())
	r.equal("one")
}

func TestLargeFileIsGivenUpWhenItGoes(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"removed":           func(r *rig) { r.must(os.Remove(filepath.Join(r.dir, "d/big"))) },
		"directory removed": func(r *rig) { r.must(os.RemoveAll(filepath.Join(r.dir, "d"))) },
		"directory renamed": func(r *rig) { r.must(os.Rename(filepath.Join(r.dir, "d"), filepath.Join(r.dir, "e"))) },
		"now a directory": func(r *rig) {
			r.must(os.Remove(filepath.Join(r.dir, "d/big")))
			r.write("d/big/f", "x")
		},
		"directory now a file": func(r *rig) {
			r.must(os.RemoveAll(filepath.Join(r.dir, "d")))
			r.write("d", "x")
		},
		"now small": func(r *rig) { r.write("d/big", "x") },
		"target away meanwhile": func(r *rig) {
			r.daemon.Stop()
			r.must(os.RemoveAll(filepath.Join(r.dir, "d"))) // also what a receiver that was killed left behind
			r.eventually("the target is away", func() bool { return r.src.Status().Targets[0].State == "away" })
			r.daemon.Restart()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newLargeRig(t, 2000)
			r.start()
			r.write("d/other", "x")
			r.large("d/big", 4*mib)
			r.sending("d/big")
			change(r)
			r.eventually("nothing waits, and no part is left", func() bool {
				s := r.src.Status().Targets[0]
				return s.Waiting == 0 && s.Dead == 0 && !r.exists("one", "d/"+filter.PartialName)
			})
			r.equal("one")
		})
	}
}

// A large file may go just when it is on its way to our own code, which keeps a part of what it gets no more of: none is left in the end.
func TestNoPartIsLeftOfALargeFileThatWentOnItsWay(t *testing.T) {
	t.Parallel()
	target := t.TempDir()
	r := newRig(t, func(r *rig) {
		o := r.toDirectory(target)
		o.Large = 1 * mib
		r.opts.Targets = []replicate.TargetOptions{o}
	})
	r.write("d/other", "x")
	r.start()
	part := filepath.Join(target, "d", filter.PartialName)
	kept := 0
	for try := 0; try < 200 && kept < 3; try++ {
		r.large("d/big", 32*mib)
		r.eventually("it is on its way, or there", func() bool {
			names, err := filepath.Glob(filepath.Join(target, "d", ".sersync-tmp.*"))
			r.must(err)
			return len(names) > 0 || there(filepath.Join(target, "d/big"))
		})
		r.must(os.Remove(filepath.Join(r.dir, "d/big")))
		r.eventually("it is gone", func() bool {
			if there(part) {
				kept++
			}
			return r.src.Status().Targets[0].Waiting == 0 && !there(filepath.Join(target, "d/big"))
		})
		r.wait()
		r.eventually("no part is left", func() bool { return !there(part) })
	}
	if kept == 0 {
		t.Error("no part was ever kept: this shows nothing")
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
