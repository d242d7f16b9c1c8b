package receive

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxLogins is how many clients may be logging in, in all and from one address.
	maxLogins, maxLoginsOfOne = 256, 32
	// maxAddresses is how many addresses are remembered of which clients failed.
	maxAddresses = 4096
	// forgiven is how long after its last failure an address is forgotten.
	forgiven = time.Hour
	// After a failure the next login from there waits; twice as long with each, up to the longest, which is less than a client waits: it is to
	// learn why it is refused.
	firstDelay, longestDelay = 250 * time.Millisecond, 4 * time.Second
	// longestWait bounds what is in front of a client that waits: less than one waits by default. Were it more, those that gave up waiting would be in front
	// of those that come, for ever.
	longestWait = 2 * longestDelay
)

// errTooMany says that those in front of a client take longer than it may wait.
var errTooMany = errors.New("too many failed logins from there")

// gate bounds how many clients there are, and how fast they can guess. What it remembers is bounded.
type gate struct {
	log *slog.Logger

	mu      sync.Mutex
	clients int                            // guarded by mu
	logins  int                            // guarded by mu
	from    map[netip.Prefix]int           // guarded by mu: logins from there
	bad     map[netip.Prefix]*list.Element // guarded by mu
	oldest  *list.List                     // guarded by mu: of *record, the one that failed last at the back
	full    bool                           // guarded by mu: it was told that there are too many
}

// record is what is remembered of an address.
type record struct {
	from     netip.Prefix
	failures int
	// refusals are those of clients that were told why.
	refusals int
	last     time.Time
	// next is when the next login from there may begin.
	next time.Time
}

func newGate(log *slog.Logger) *gate {
	return &gate{log: log, from: make(map[netip.Prefix]int), bad: make(map[netip.Prefix]*list.Element), oldest: list.New()}
}

// network is what one client can have for itself: an address, or a network of IPv6.
func network(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // only an invalid address fails, which is one like any other here
	return p
}

// enter lets a client in for its login; it is false when there are too many. Then loggedIn and leave are not called.
func (g *gate) enter(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := network(addr)
	if g.from[n] >= maxLoginsOfOne {
		g.note(addr, Peer{}, "too many logins from there at the same time")
		return false
	}
	if g.clients >= maxClients || g.logins >= maxLogins {
		if !g.full {
			g.log.Warn("too many connections, new ones are closed", "connections", g.clients, "logging_in", g.logins, "client", addr)
		}
		g.full = true
		return false
	}
	g.clients++
	g.logins++
	g.from[n]++
	return true
}

// loggedIn ends a login, good or bad.
func (g *gate) loggedIn(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := network(addr)
	g.logins--
	if g.from[n]--; g.from[n] == 0 {
		delete(g.from, n)
	}
	if g.full && g.logins < maxLogins/2 && g.clients < maxClients {
		g.full = false
		g.log.Info("connections are accepted again")
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients--
}

// wait waits for the turn of a client from an address that failed before.
func (g *gate) wait(ctx context.Context, addr netip.Addr) error {
	delay := g.turn(addr, time.Now())
	if delay <= 0 {
		return nil
	}
	if delay > longestWait {
		return errTooMany
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn is how long a client has to wait. The one after it waits longer, so that guessing side by side is no faster.
func (g *gate) turn(addr netip.Addr, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.record(addr, now, false)
	if r == nil || r.failures == 0 {
		return 0
	}
	delay := r.next.Sub(now)
	if delay > longestWait {
		return delay // it is sent away, and takes no turn
	}
	r.next = now.Add(max(delay, 0) + slowed(r.failures))
	return delay
}

// slowed is how long a login waits after so many failures.
func slowed(failures int) time.Duration {
	return min(firstDelay<<min(failures-1, 16), longestDelay)
}

// record is what is known of an address; make says whether to begin one.
func (g *gate) record(addr netip.Addr, now time.Time, begin bool) *record {
	for e := g.oldest.Front(); e != nil; e = g.oldest.Front() {
		if r := e.Value.(*record); now.Sub(r.last) < forgiven && len(g.bad) <= maxAddresses {
			break
		}
		g.forget(e)
	}
	n := network(addr)
	e := g.bad[n]
	if e == nil {
		if !begin {
			return nil
		}
		e = g.oldest.PushBack(&record{from: n})
		g.bad[n] = e
	}
	if begin {
		e.Value.(*record).last = now
		g.oldest.MoveToBack(e)
	}
	return e.Value.(*record)
}

func (g *gate) forget(e *list.Element) {
	r := e.Value.(*record)
	g.oldest.Remove(e)
	delete(g.bad, r.from)
	if r.failures+r.refusals > 1 {
		g.log.Warn("logins failed and were not tried again", "client", r.from, "failed", r.failures, "refused", r.refusals)
	}
}

// failed notes a client that did not prove what it had to; the first one is told, the others are counted.
func (g *gate) failed(addr netip.Addr, peer Peer, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	r := g.record(addr, now, true)
	r.failures++
	r.next = later(r.next, now.Add(slowed(r.failures)))
	if r.failures == 1 {
		g.log.Warn("login failed, further ones from there are slowed down and counted", "client", addr, "module", peer.Module, "user", peer.User, "error", err)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cut notes a client whose connection ended before it could learn anything of a secret: that is no guess, and networks are cut.
func (g *gate) cut(addr netip.Addr, peer Peer, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note(addr, peer, "its login did not come to an end: "+err.Error())
}

// refused notes a client that was told why it may not, as often as it tries.
func (g *gate) refused(addr netip.Addr, peer Peer, refusal *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.note(addr, peer, refusal.Text)
}

// note tells of the first refusal of an address and counts the others. The caller holds mu.
func (g *gate) note(addr netip.Addr, peer Peer, reason string) {
	r := g.record(addr, time.Now(), true)
	if r.refusals++; r.refusals == 1 {
		g.log.Warn("client was sent away", "client", addr, "module", peer.Module, "user", peer.User, "reason", reason)
	}
}

// unwelcome notes a client from where nobody may come.
func (g *gate) unwelcome(addr netip.Addr) {
	g.refused(addr, Peer{}, refuse(NotAllowed, "no module is for clients from there"))
}

// succeeded forgives an address.
func (g *gate) succeeded(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.bad[network(addr)]
	if e == nil {
		return
	}
	r := e.Value.(*record)
	g.oldest.Remove(e)
	delete(g.bad, r.from)
	g.log.Info("login works again", "client", addr, "failed", r.failures, "refused", r.refusals)
}
