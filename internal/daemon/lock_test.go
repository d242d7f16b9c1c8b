package daemon

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"sersync/internal/config"
)

// TestMain lets the tests start this binary as a process that takes a lock and waits to be killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("TEST_LOCK"); path != "" {
		if _, err := acquire(path, Holder{PID: os.Getpid(), Config: "/etc/other.xml", What: "work"}); err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestLockSaysWhoHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "TEST_LOCK="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("child said %q, %v", line, err)
	}

	_, err = acquire(path, Holder{PID: os.Getpid(), What: "work"})
	var held *HeldError
	if !errors.As(err, &held) {
		t.Fatalf("error %v", err)
	}
	if held.Holder.PID != child.Process.Pid || held.Holder.Config != "/etc/other.xml" || held.What != "work" {
		t.Errorf("held by %+v", held)
	}

	// What a killed process leaves is no obstacle.
	child.Process.Kill()
	child.Wait()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the killed process left no file: %v", err)
	}
	l, err := acquire(path, Holder{PID: os.Getpid(), What: "work"})
	if err != nil {
		t.Fatal(err)
	}
	l.release()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("lock after its release: %v", err)
	}
}

func TestLockHasOneHolderWhileFilesComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	var inside, most, got int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				l, err := acquire(path, Holder{What: "work"})
				var held *HeldError
				if errors.As(err, &held) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inside++
				got++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				l.release()
			}
		})
	}
	all.Wait()
	if most != 1 || got < 2 {
		t.Errorf("%d holders at one time, %d in all", most, got)
	}
}

func TestPairIsTheSameByEveryNameOfTheSource(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	target := config.Target{Kind: config.Daemon, Host: "h", Path: "m"}
	other := config.Target{Kind: config.Daemon, Host: "h", Path: "n"}
	source := func(name string) config.Source { return config.Source{Path: filepath.Join(dir, name)} }
	if pairLock(source("real"), target) != pairLock(source("link"), target) {
		t.Error("a symlink makes another pair")
	}
	if pairLock(source("real"), target) == pairLock(source("real"), other) {
		t.Error("two targets are one pair")
	}
}

func TestPairsAreLockedAllOrNone(t *testing.T) {
	t.Setenv(config.RunDirEnv, t.TempDir())
	t.Setenv(config.StateDirEnv, t.TempDir())
	d := New(Options{})
	d.config = &config.Config{File: "/etc/a.xml"}
	mine, theirs := pairLock(config.Source{Path: "/a"}, config.Target{}), pairLock(config.Source{Path: "/b"}, config.Target{})
	l, err := acquire(theirs, Holder{Config: "/etc/b.xml"})
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]string{mine: "a", theirs: "b"}
	var held *HeldError
	if _, err := d.lockPairs(both); !errors.As(err, &held) || held.Holder.Config != "/etc/b.xml" {
		t.Errorf("error %v", err)
	}
	if len(d.locks) != 0 {
		t.Errorf("%d locks are held after the error", len(d.locks))
	}
	l.release()
	if taken, err := d.lockPairs(both); err != nil || len(taken) != 2 {
		t.Errorf("locked %q, %v", taken, err)
	}
	if taken, err := d.lockPairs(both); err != nil || len(taken) != 0 {
		t.Errorf("locked again %q, %v", taken, err)
	}
	d.releaseBut(map[string]string{mine: "a"})
	if len(d.locks) != 1 || d.locks[mine] == nil {
		t.Errorf("locks %v", d.locks)
	}
	d.releaseBut(nil)
}

// A process that was killed while it started another one leaves its lock to that for a moment: nobody is turned away for it.
func TestLockOfADeadHolderIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	l, err := acquire(path, Holder{PID: gone.Process.Pid, Config: "of one that was killed"})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "0.3")
	child.ExtraFiles = []*os.File{l.file}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	l.file.Close() // not unlocked: the child has it
	again, err := acquire(path, Holder{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	again.release()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
}
