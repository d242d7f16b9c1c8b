package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Kinds are what the targets of a run may be: rsync daemons, receivers of sersync, directories of this machine, or one of each.
var Kinds = []string{kindAll, kindNative, kindRsync, kindLocal}

const (
	kindAll    = "all"
	kindNative = "native"
	kindRsync  = "rsync"
	kindLocal  = "local"
)

// kindsOf are the kinds of the targets of a run. The first is the one whose power is cut.
func kindsOf(kind string) ([]string, error) {
	switch {
	case kind == kindAll:
		return []string{kindNative, kindRsync, kindLocal}, nil
	case slices.Contains(Kinds, kind):
		return []string{kind, kind}, nil
	}
	return nil, &UsageError{fmt.Sprintf("there is no kind of target %q", kind), "name one of " + strings.Join(Kinds, ", ")}
}

// target is one target and the way there.
type target struct {
	kind string
	tree string // its directory
	// server and relay are nil for a directory of this machine.
	server server
	relay  *relay
	// witness is the log of an rsync daemon; nil without.
	witness *witness
	// readers is held for writing while nobody may read what is there, as that machine is down.
	readers sync.RWMutex
	// cuts counts its losses of power. Guarded by readers.
	cuts int
}

// ours reports whether a target is put in place by our own code, which promises whole files.
func (g *target) ours() bool { return g.kind != kindRsync }

// url is the name of the target, too.
func (g *target) url() string {
	switch g.kind {
	case kindRsync:
		return fmt.Sprintf("rsync://%s@127.0.0.1:%d/%s", user, g.relay.port(), module)
	case kindNative:
		return fmt.Sprintf("sersync://%s@127.0.0.1:%d/%s", user, g.relay.port(), module)
	}
	return g.tree
}

// server is what takes what is sent to a target: an rsync daemon or a receiver, with all its processes.
type server interface {
	// start starts it and returns when it listens. It may be started already.
	start(ctx context.Context) error
	// stop kills it, as a crash would, and returns when all of it is gone. It may be stopped already.
	stop() error
	address() string
	// killSome kills a part of it, and says what.
	killSome(rnd *rand.Rand) (string, error)
	// freezeSome stops a part of it, or all; signalAll reaches all.
	freezeSome(rnd *rand.Rand) error
	signalAll(sig unix.Signal) error
}

// newTarget makes a target; nothing runs yet.
func (t *torture) newTarget(i int, kind string) (*target, error) {
	g := &target{kind: kind, tree: t.targetDir(i)}
	var err error
	switch kind {
	case kindLocal:
		return g, makeDirs(g.tree)
	case kindRsync:
		var d *rsyncd
		if d, err = newRsyncd(t.below(fmt.Sprintf("rsyncd%d", i+1)), g.tree); err == nil {
			g.server, g.witness = d, &witness{file: d.log()}
		}
	case kindNative:
		g.server, err = newReceiver(t.o.Program, t.below(fmt.Sprintf("receiver%d", i+1)), g.tree)
	}
	if err != nil {
		return nil, err
	}
	g.relay, err = newRelay(g.server.address())
	return g, err
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
