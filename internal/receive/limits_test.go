package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func quietGate(t *testing.T) (*gate, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return newGate(slog.New(slog.NewTextHandler(&log, nil))), &log
}

var (
	attacker = netip.MustParseAddr("192.0.2.66")
	honest   = netip.MustParseAddr("192.0.2.1")
)

func TestFailedLoginsSlowDownTheirAddressAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := quietGate(t)
		began, tries := time.Now(), 0
		for time.Since(began) < time.Hour {
			ctx, cancel := context.WithTimeout(t.Context(), loginPatience)
			if err := g.wait(ctx, attacker); err != nil {
				t.Fatalf("one after the other: %v", err)
			}
			g.failed(attacker, Peer{"m", "u"}, errors.New("wrong"))
			tries++
			cancel()
		}
		if tries > 1000 || tries < 100 {
			t.Errorf("%d tries in an hour", tries)
		}
		if d := g.turn(honest, time.Now()); d != 0 {
			t.Errorf("another address waits %v", d)
		}
		if n := strings.Count(log.String(), "login failed"); n != 1 {
			t.Errorf("told %d times", n)
		}
		g.succeeded(attacker)
		if d := g.turn(attacker, time.Now()); d != 0 || !strings.Contains(log.String(), fmt.Sprintf("failed=%d", tries)) {
			t.Errorf("after a good login it waits %v\n%s", d, log)
		}
	})
}

// To guess with many connections at once is no faster than with one.
func TestLoginsSideBySideWaitInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := quietGate(t)
		for range 8 {
			g.failed(attacker, Peer{}, errors.New("wrong"))
		}
		let, away := 0, 0
		for range maxLoginsOfOne {
			if g.turn(attacker, time.Now()) <= longestWait {
				let++
			} else {
				away++
			}
		}
		if let > int(longestWait/longestDelay)+1 || away == 0 {
			t.Errorf("%d wait, %d are sent away", let, away)
		}
	})
}

// Those who gave up waiting are not in the way for ever of one from the same address who waits as long as clients do, and comes again.
func TestClientsThatGaveUpWaitingDoNotKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := quietGate(t)
		for range 8 {
			g.failed(honest, Peer{}, errors.New("wrong"))
			g.turn(honest, time.Now())
		}
		for began := time.Now(); ; {
			delay := g.turn(honest, time.Now())
			if delay <= longestWait {
				return
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("after a minute it would wait %v", delay)
			}
			time.Sleep(time.Second) // of a bubble
		}
	})
}

// A network that is cut makes nobody wait: only who may have learned that a guess was wrong.
func TestLoginsThatAreCutAreNotSlowedDown(t *testing.T) {
	g, log := quietGate(t)
	for range 100 {
		g.cut(honest, Peer{}, io.ErrUnexpectedEOF)
	}
	if d := g.turn(honest, time.Now()); d != 0 {
		t.Errorf("it waits %v", d)
	}
	if n := strings.Count(log.String(), "did not come to an end"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestRefusedClientsAreToldOnceAndNotSlowedDown(t *testing.T) {
	g, log := quietGate(t)
	for range 100 {
		g.refused(honest, Peer{"m", "u"}, refuse(Busy, "full"))
	}
	if d := g.turn(honest, time.Now()); d != 0 {
		t.Errorf("it waits %v", d)
	}
	if n := strings.Count(log.String(), "sent away"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestMemoryOfTheGateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := quietGate(t)
		for i := range 3 * maxAddresses {
			g.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Peer{}, errors.New("wrong"))
		}
		if len(g.bad) > maxAddresses+1 || g.oldest.Len() != len(g.bad) {
			t.Errorf("%d addresses, %d in the list", len(g.bad), g.oldest.Len())
		}
		time.Sleep(forgiven)
		g.failed(attacker, Peer{}, errors.New("wrong"))
		if len(g.bad) != 1 {
			t.Errorf("%d addresses after an hour", len(g.bad))
		}
	})
}

func TestUnfinishedLoginsAreBounded(t *testing.T) {
	g, log := quietGate(t)
	let := 0
	for range 10 * maxLoginsOfOne {
		if g.enter(attacker) {
			let++
		}
	}
	if let != maxLoginsOfOne {
		t.Errorf("%d from one address, want %d", let, maxLoginsOfOne)
	}
	if !g.enter(honest) {
		t.Error("another address is kept out by it")
	}
	for i := range 2 * maxLogins {
		g.enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if g.logins != maxLogins {
		t.Errorf("%d in all, want %d", g.logins, maxLogins)
	}
	for range let {
		g.loggedIn(attacker)
		g.leave()
	}
	if _, there := g.from[network(attacker)]; there || !g.enter(honest) {
		t.Error("there is no room again")
	}
	for _, what := range []string{"too many connections", "too many logins from there"} {
		if n := strings.Count(log.String(), what); n != 1 {
			t.Errorf("%s: told %d times", what, n)
		}
	}
}

func TestOneNetworkOfIPv6IsOneClient(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	if network(a) != network(b) || network(a) == network(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("networks are not told apart by 64 bits")
	}
}
