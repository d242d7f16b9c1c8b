package rsync

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/confine"
)

// A spawner starts processes that can open nothing but the source and what the program itself
// needs. A symlink that somebody puts in the place of a directory of the source leads nowhere
// then. (Landlock does not hide names and attributes: lstat and readlink work everywhere.)
//
// The confinement is that of one OS thread and passes on to what the thread starts. There is a
// spawner for each source and target, and not one for each source, because what a
// target needs (a password, a key, a directory to write) is no business of the others.
type spawner struct {
	root *os.File // of the source, our own descriptor; nil when nothing of it is needed
	key  spawnKey
	// confined is why the children are not confined; nil when they are.
	confined error

	jobs chan func()
	gone chan struct{} // closed when the thread has ended

	mu     sync.Mutex
	users  int  // guarded by mu: who may still call start, and children
	closed bool // guarded by mu: nobody new
}

// spawnKey tells whether a spawner is still the right one.
type spawnKey struct {
	root, target fileID
}

// fileID is the identity of a directory. A spawner holds its root open, so that the kernel
// cannot give the identity to another one meanwhile.
type fileID struct{ dev, ino uint64 }

// newSpawner starts a thread for children, with one user, which may do with root what access says. It ends when it was closed and the last user is gone.
func newSpawner(o *Options, root *os.File, key spawnKey, access uint64) (*spawner, error) {
	s := &spawner{key: key, jobs: make(chan func()), gone: make(chan struct{}), users: 1}
	rules := o.rules()
	if root != nil {
		fd, err := unix.FcntlInt(root.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("keep source root open: %w", err)
		}
		s.root = os.NewFile(uintptr(fd), root.Name())
		rules = append(rules, confine.Rule{Path: root.Name(), Access: access, Dir: s.root})
	}
	ready := make(chan struct{})
	go func() {
		// Never unlocked: the thread ends with the goroutine, and takes its confinement along. The
		// death signal of the children is tied to the thread as well, so it outlives them all.
		runtime.LockOSThread()
		defer close(s.gone)
		s.confined = confine.Enter(rules)
		close(ready)
		for job := range s.jobs {
			job()
		}
		if s.root != nil {
			s.root.Close()
		}
	}()
	<-ready
	return s, nil
}

// start starts cmd in the root of the source, with a process group of its own, killed if we die. The
// caller is a user; the child is another one, which the caller releases when it has ended.
func (s *spawner) start(cmd *exec.Cmd, pidfd *int) error {
	cmd.Dir = "/"
	if s.root != nil {
		// The descriptor and not a name: it is the directory that was checked.
		cmd.Dir = fmt.Sprintf("/proc/self/fd/%d", s.root.Fd())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: pidfd}
	started := make(chan error, 1)
	s.jobs <- func() { started <- cmd.Start() }
	err := <-started
	if err == nil {
		s.mu.Lock()
		s.users++
		s.mu.Unlock()
	}
	return err
}

// use makes the caller a user; false when the spawner is closed.
func (s *spawner) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.users++
	}
	return !s.closed
}

// release ends what use, newSpawner or start began.
func (s *spawner) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	s.endIfUnused()
}

// close admits no further users and lets the thread end after the last.
func (s *spawner) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.endIfUnused()
	}
}

// wait returns when the thread has ended. A child that hangs in the kernel, where not even SIGKILL
// reaches it, is not waited for.
func (s *spawner) wait() {
	patience := time.NewTimer(killAfter)
	defer patience.Stop()
	select {
	case <-s.gone:
	case <-patience.C:
	}
}

// endIfUnused ends the thread. The caller holds mu.
func (s *spawner) endIfUnused() {
	if s.closed && s.users == 0 {
		close(s.jobs)
	}
}

// rootName is the name of the source root as rsync will print it.
func (s *spawner) rootName() string {
	if s.root == nil {
		return "/"
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", s.root.Fd()))
	if err != nil {
		return s.root.Name()
	}
	return name
}

// rules are what rsync and ssh need beside the source.
func (o *Options) rules() []confine.Rule {
	var rules []confine.Rule
	allow := func(access uint64, paths ...string) {
		for _, p := range paths {
			rules = append(rules, confine.Rule{Path: p, Access: access})
		}
	}
	allow(confine.Run, "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
	allow(confine.Read, "/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts",
		"/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime",
		"/etc/ssl/openssl.cnf", "/run/systemd/resolve", "/dev/urandom")
	allow(confine.Read|unix.LANDLOCK_ACCESS_FS_WRITE_FILE, "/dev/null")
	allow(confine.Run, programPath(o.Program))
	switch {
	case o.daemon() && o.PasswordFile != "":
		allow(confine.Read, o.PasswordFile)
	case o.ssh():
		allow(confine.Run, programPath(o.SSH.Program))
		allow(confine.Read, "/etc/ssh", "/etc/crypto-policies")
		if o.SSH.Identity != "" {
			allow(confine.Read, o.SSH.Identity, o.SSH.Identity+".pub", o.SSH.Identity+"-cert.pub")
		}
		if home, err := homeDir(); err == nil {
			// ssh writes known_hosts by renaming a new one over it.
			allow(confine.Write, filepath.Join(home, ".ssh"))
		}
	case o.local():
		allow(confine.Write, o.Dir)
	}
	return rules
}

// homeDir is where ssh looks for its files: not $HOME, but what the user database says.
func homeDir() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	if u.HomeDir == "" {
		return "", errors.New("no home directory")
	}
	return u.HomeDir, nil
}

func programPath(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name
}
