package receive

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/confine"
)

// module is a module and its process, which is started when it is first needed.
type module struct {
	b        *broker
	settings Module
	// door holds the questions that are being answered. A directory that hangs, as that of a dead NFS server, takes its module's place
	// in it and no other's.
	door chan struct{}

	// after is the process of the module of this name in the configuration before; nil when there was none. No process is started
	// before that one has ended: what it still does would be done after a newer change.
	after *process

	// starting is held while a process is started, so that there is one.
	starting sync.Mutex

	mu       sync.Mutex
	process  *process        // guarded by mu; nil when there is none
	sessions map[uint64]bool // guarded by mu: those of the process
	failures int             // guarded by mu
	retry    time.Time       // guarded by mu: no process is started before
	retired  bool            // guarded by mu: the configuration has another one of this name
}

func newModule(b *broker, settings Module, after *process) *module {
	return &module{b: b, settings: settings, after: after, sessions: make(map[uint64]bool), door: make(chan struct{}, maxQuestions)}
}

// moduleConfig is what the process of a module needs to know: nothing of secrets.
type moduleConfig struct {
	Module             Module
	Jailed, Owns, Proc bool
	// Watched: there is a descriptor that tells when the directory loses its name.
	Watched bool
}

// ensure starts a process when there is none. The caller holds starting.
func (m *module) ensure() error {
	m.mu.Lock()
	there := m.process != nil
	m.mu.Unlock()
	if there {
		return nil
	}
	if m.after != nil && !m.after.ends() {
		return errors.New("start module: the process of the old configuration does not end")
	}
	p, err := m.start()
	if err == nil && !m.b.adopt(p) {
		return errEnding
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.failed(err)
		return err
	}
	if m.retired {
		p.control.finish() // nobody waits for it
	}
	m.process = p
	m.b.running.Go(func() { m.attend(p) })
	return nil
}

func (m *module) start() (*process, error) {
	// What happens after this is told, and to none but the directory that is opened then.
	way, unwatched := watchWay(m.settings.Path)
	root, err := os.OpenFile(m.settings.Path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if unwatched == nil {
		defer way.Close()
	} else if err == nil {
		m.b.o.Log.Warn("it takes some seconds until it is noticed that the directory of a module is renamed", "module", m.settings.Name, "error", unwatched)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory of module: %w", err)
	}
	defer root.Close()
	settings := m.settings
	settings.Secrets, settings.GroupSecrets = nil, nil
	config := moduleConfig{Module: settings, Jailed: m.b.jails}
	c := birth{
		args: []string{"module", m.settings.Name}, root: root,
		rules: []confine.Rule{{Path: m.settings.Path, Access: confine.Write, Dir: root}},
	}
	if m.b.proc != nil {
		config.Proc, c.files = true, []*os.File{m.b.proc}
	}
	if unwatched == nil {
		config.Watched, c.files = true, append(c.files, way)
	}
	if m.settings.User != nil && privileged() {
		c.user = m.settings.User
		if c.user.UID == 0 {
			c.user, c.caps = &User{UID: Nobody, GID: Nobody}, have(owning...)
			config.Owns = len(c.caps) == len(owning)
		}
	}
	c.config = config
	p, err := m.b.start(c)
	if is, failed := root.Stat(); err == nil && failed == nil {
		go m.watchRoot(p, is)
	}
	return p, err
}

// rootEvery is how often the directory of a module that is in use is looked at: what is mounted over it, and what other clients of an NFS server do, no
// event tells.
const rootEvery = 2 * time.Second

// watchRoot ends the process when another directory is at the path of the module: what it writes would go to one that nobody means. It is
// not waited for, as a look at a dead file system may last.
func (m *module) watchRoot(p *process, was os.FileInfo) {
	tick := time.NewTicker(rootEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		is, err := os.Stat(m.settings.Path)
		if err == nil && os.SameFile(is, was) || err != nil && !errors.Is(err, os.ErrNotExist) {
			continue
		}
		m.lost(p)
		return
	}
}

// lost ends the process of a directory that has lost its name.
func (m *module) lost(p *process) {
	m.b.o.Log.Warn("directory of a module is gone or another one, its clients are cut off", "module", m.settings.Name, "path", m.settings.Path)
	p.control.finish()
}

// attend counts sessions out until the process is gone.
func (m *module) attend(p *process) {
	defer m.b.buried(p)
	well := time.AfterFunc(steady, m.works)
	defer well.Stop()
	for {
		msg, file, err := p.control.receive()
		if file != nil {
			file.Close() // nobody has asked for it
		}
		if err != nil {
			break
		}
		if msg.Kind == kindMoved {
			m.lost(p)
			continue
		}
		m.mu.Lock()
		delete(m.sessions, msg.ID)
		m.mu.Unlock()
	}
	<-p.done
	ending := m.b.isEnding() // not under mu, which is taken under the broker's
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process, m.sessions = nil, make(map[uint64]bool)
	if !m.retired && !ending {
		m.failed(errors.Join(errors.New("process ended"), p.end))
	}
}

// works notes that a process has not failed at its start.
func (m *module) works() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failures > 0 && m.process != nil {
		m.b.o.Log.Info("process of a module works again", "module", m.settings.Name, "failed", m.failures)
		m.failures = 0
	}
}

// failed notes that a process did not work, and tells of the first time. The caller holds mu.
func (m *module) failed(err error) {
	m.failures++
	m.retry = time.Now().Add(pause(m.failures))
	if m.failures == 1 {
		m.b.o.Log.Error("process of a module failed, its clients are cut off", "module", m.settings.Name, "error", err)
	}
}

// retire ends the process, as another one takes its place, and returns what that has to wait for.
func (m *module) retire() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retired = true
	if m.process == nil {
		return m.after
	}
	m.process.control.finish()
	return m.process
}

func (b *broker) isEnding() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ending
}
