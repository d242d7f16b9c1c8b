package receive

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxQuestions is how many questions about a module are answered at the same time.
const maxQuestions = 16

func (m *module) enterDoor() bool {
	select {
	case m.door <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *module) leaveDoor() { <-m.door }

// answer answers a front: whether somebody may log in, which takes a look-up of names here, or with a stream for who has.
func (m *module) answer(ctx context.Context, q message) (*os.File, *Refusal) {
	if q.Kind == kindOpen {
		allowed, readOnly := m.settings.rights(q.User)
		if !allowed {
			return nil, refuse(NotAllowed, "user %q may not log in to module %q", q.User, m.settings.Name)
		}
		return m.admit(message{Kind: kindServe, User: q.User, Address: q.Address, ReadOnly: readOnly})
	}
	from, err := netip.ParseAddrPort(q.Address)
	if err != nil {
		return nil, refuse(NotAllowed, "no address")
	}
	if !m.settings.Hosts.byName(ctx, net.DefaultResolver, from.Addr().Unmap()) {
		return nil, notAllowed(&m.settings, from.Addr())
	}
	if refusal := m.room(); refusal != nil {
		return nil, refusal
	}
	return nil, m.there()
}

// there says that the directory is missing, where no process has it open.
func (m *module) there() *Refusal {
	m.mu.Lock()
	running := m.process != nil
	m.mu.Unlock()
	if running {
		return nil
	}
	if _, err := os.Stat(m.settings.Path); err != nil {
		return refuse(Busy, "module %q cannot be used, its directory is missing, try again later", m.settings.Name)
	}
	return nil
}

// room says why there is no room for one more; nil when there is.
func (m *module) room() *Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.settings.MaxConnections < 0:
		return refuse(NotAllowed, "module %q is switched off: %s says max connections = %d", m.settings.Name, m.settings.Place, m.settings.MaxConnections)
	case m.settings.MaxConnections > 0 && len(m.sessions) >= m.settings.MaxConnections:
		return refuse(Busy, "max connections (%d) of module %q reached, try again later", m.settings.MaxConnections, m.settings.Name)
	case m.retired, m.process == nil && time.Now().Before(m.retry):
		return refuse(Busy, "module %q is being started, try again later", m.settings.Name)
	}
	return nil
}

// admit hands one end of a stream to the process, and returns the other one.
func (m *module) admit(serve message) (*os.File, *Refusal) {
	m.starting.Lock()
	defer m.starting.Unlock()
	if refusal := m.room(); refusal != nil {
		return nil, refusal
	}
	if err := m.ensure(); err != nil {
		return nil, refuse(Busy, "module %q cannot be started, try again later", m.settings.Name)
	}
	ours, theirs, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		m.b.o.Log.Error("no stream for a client", "error", err)
		return nil, refuse(Busy, "no room, try again later")
	}
	defer theirs.Close()
	widen(ours, theirs)
	p := m.enter(&serve)
	if p == nil {
		ours.Close()
		return nil, refuse(Busy, "module %q is being started, try again later", m.settings.Name)
	}
	if err := p.control.send(serve, theirs); err != nil {
		ours.Close()
		m.b.o.Log.Error("process of a module takes no client", "module", m.settings.Name, "error", err)
		p.kill()
		return nil, refuse(Busy, "module %q is being started, try again later", m.settings.Name)
	}
	return ours, nil
}

// streamBuffer is what a stream holds on its way, in bytes: a large file needs few turns.
const streamBuffer = 1 << 20

// widen gives both ends room. Without root the limit of the machine holds.
func widen(files ...*os.File) {
	for _, f := range files {
		if unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, streamBuffer) != nil {
			_ = unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, streamBuffer)
		}
	}
}

// enter counts a session in; nil when the process has gone.
func (m *module) enter(serve *message) *process {
	m.b.mu.Lock()
	m.b.last++
	serve.ID = m.b.last
	m.b.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		m.sessions[serve.ID] = true
	}
	return m.process
}

func unknownModule(name string) *Refusal { return refuse(NoModule, "unknown module %q", name) }

// notAllowed is the answer to who comes from where he may not: a module that is not listed is not there for him.
func notAllowed(m *Module, from fmt.Stringer) *Refusal {
	if !m.List {
		return unknownModule(m.Name)
	}
	return refuse(NotAllowed, "access to module %q is denied to %s by hosts allow and hosts deny", m.Name, from)
}
