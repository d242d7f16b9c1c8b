package torture_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sersync/internal/cli"
	"sersync/internal/torture"
)

// TestMain lets the torture start this test binary as sersync.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "sersync" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// shortDir is a directory whose path leaves room for that of a socket. It is kept when the test failed.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("everything is kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// P1, P2, P3 and P6 while the daemon is killed and everything else is harmed. The long form is: make torture
func TestP2TortureLosesNothing(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var said strings.Builder
	err = torture.Run(ctx, torture.Options{
		Dir: shortDir(t), Program: program, Seed: uint64(time.Now().Unix()), Duration: 15 * time.Second, Kills: 3, Target: "all", Out: &said,
	})
	t.Log(said.String())
	if err != nil {
		t.Fatal(err)
	}
}
