package torture

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// What is done to the targets and to the way there, as the table names it.
const (
	serverStopped   = "rsync daemon or receiver killed and started"
	receiversKilled = "receivers of an rsync daemon killed"
	frozen          = "processes of a target frozen and thawed"
	cutRandom       = "connection cut at a random byte"
	cutAll          = "all connections cut"
	hung            = "connections that never answer"
	slowed          = "slow connections"
	delayed         = "connections with a delay"
	targetPowerCut  = "power cut at the target"
)

const (
	sigFreeze = unix.SIGSTOP
	sigThaw   = unix.SIGCONT
)

// harm does one harm after the other to a target and to the way there, until ctx ends. Each is taken back before the next.
func (t *torture) harm(ctx context.Context, i int) error {
	rnd := t.random(20 + uint64(i))
	for pause(ctx, time.Duration(100+rnd.IntN(1500))*time.Millisecond) {
		if err := t.harmOnce(ctx, rnd, i); err != nil {
			return err
		}
		t.mu.Lock()
		t.harmed = time.Now()
		t.mu.Unlock()
	}
	return nil
}

func (t *torture) harmOnce(ctx context.Context, rnd *rand.Rand, i int) error {
	g := t.targets[i]
	d, r := g.server, g.relay
	short := time.Duration(50+rnd.IntN(1500)) * time.Millisecond
	// Longer than the time-out of the daemon under test, now and then.
	long := short
	if rnd.IntN(4) == 0 {
		long += 5 * time.Second
	}
	if t.power != nil && i == 0 && rnd.IntN(6) == 0 {
		return t.power.cutTarget(ctx, t, short)
	}
	who := i + 1
	switch rnd.IntN(9) {
	case 0:
		t.done(serverStopped, who)
		err := d.stop()
		pause(ctx, short)
		// Also when ctx has ended: the next one needs it.
		return errors.Join(err, d.start(context.WithoutCancel(ctx)))
	case 1:
		what, err := d.killSome(rnd)
		t.done(what, who)
		return err
	case 2, 3:
		t.done(frozen, who)
		err := d.freezeSome(rnd)
		pause(ctx, long)
		return errors.Join(err, d.signalAll(sigThaw))
	}
	t.harmWay(ctx, rnd, r, who, long)
	return nil
}

// harmWay harms the way to a target.
func (t *torture) harmWay(ctx context.Context, rnd *rand.Rand, r *relay, who int, long time.Duration) {
	switch rnd.IntN(5) {
	case 0, 1:
		t.done(cutRandom, who)
		r.cutAfter(int64(rnd.IntN(1 << (4 + rnd.IntN(16)))))
	case 2:
		t.done(cutAll, who)
		r.cutAll()
	case 3:
		t.done(hung, who)
		r.set(manner{hang: true})
		pause(ctx, long)
		r.set(manner{})
	case 4:
		if rnd.IntN(2) == 0 {
			t.done(slowed, who)
			r.set(manner{chunk: 1 + rnd.IntN(200), delay: time.Millisecond})
		} else {
			t.done(delayed, who)
			r.set(manner{delay: time.Duration(rnd.IntN(60)) * time.Millisecond})
		}
		pause(ctx, 2*long)
		r.set(manner{})
	}
}

// release takes back every harm.
func (t *torture) release(ctx context.Context) error {
	var err error
	for _, g := range t.targets {
		if g.server == nil {
			continue
		}
		g.relay.cutAfter(-1)
		g.relay.set(manner{})
		err = errors.Join(err, g.server.signalAll(sigThaw), g.server.start(ctx))
	}
	return err
}
