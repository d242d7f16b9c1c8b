package rsync

import (
	"testing"
	"time"

	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/transport/transporttest"
)

// toDaemon are options for a module of a daemon.
func toDaemon(d *rsyncdtest.Daemon, module string) Options {
	return Options{
		Host: d.Host(), Port: d.Port(), User: rsyncdtest.User, Module: module,
		PasswordFile: d.PasswordFile(), Timeout: 20 * time.Second,
	}
}

func open(t *testing.T, o Options) *Transport {
	t.Helper()
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestDaemonConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		d := rsyncdtest.Start(t, rsyncdtest.Options{})
		return transporttest.Target{Transport: open(t, toDaemon(d, "data")), Dir: d.Dir("data")}
	})
}

// A trash changes nothing for what is outside of it.
func TestTargetWithATrashConforms(t *testing.T) {
	for name, chroot := range map[string]string{"chroot": "use chroot = yes", "no chroot": "use chroot = no"} {
		t.Run(name, func(t *testing.T) {
			start := func(t *testing.T) transporttest.Target {
				d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Lines: []string{chroot}}}})
				o := toDaemon(d, "data")
				o.Trash = true
				return transporttest.Target{Transport: open(t, o), Dir: d.Dir("data")}
			}
			transporttest.Run(t, start)
			transporttest.RunTrash(t, start)
		})
	}
}

func TestLocalDirectoryConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		dir := t.TempDir()
		return transporttest.Target{Transport: open(t, Options{Dir: dir, Timeout: 20 * time.Second}), Dir: dir}
	})
}
