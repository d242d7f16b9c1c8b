package rsync

import (
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/transport"
)

// warmPause is how long nothing is kept ready after the daemon had too many connections.
const warmPause = 5 * time.Minute

// warm keeps an rsync ready for the next batch: started, logged in, waiting for its list. There is at
// most one for updates and one for removals, each from the end of one batch until
// the next, so that with the runs at work a target never has more than two connections from it.
type warm struct {
	t *Transport

	mu     sync.Mutex
	kept   map[line]*keptRun
	paused time.Time // nothing is kept until then
	closed bool
	wg     sync.WaitGroup // goroutines that start and discard runs
}

// keptRun is a run that waits for its list.
type keptRun struct {
	run     *run
	spawner *spawner
	timer   *time.Timer
}

func newWarm(t *Transport) *warm { return &warm{t: t, kept: map[line]*keptRun{}} }

// take is the run that was kept for a line; nil when there is none that is fit.
func (w *warm) take(l line, s *spawner) *run {
	w.mu.Lock()
	defer w.mu.Unlock()
	if other := w.kept[l^keeping]; other != nil {
		w.remove(l^keeping, other)
	}
	k := w.kept[l]
	if k == nil {
		return nil
	}
	delete(w.kept, l)
	k.timer.Stop()
	if k.spawner == s && k.run.alive() {
		return k.run
	}
	if tooMany(k.run.stderr.String()) {
		w.paused = time.Now().Add(warmPause)
	}
	w.discard(k)
	return nil
}

// makeRoom is called before a run is started for its list: with both kept it would be a third connection.
func (w *warm) makeRoom(l line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	updates := w.kept[update] != nil || w.kept[update|keeping] != nil
	if l.large() || !updates {
		return
	}
	for _, removal := range []line{remove, remove | trashing} {
		if k := w.kept[removal]; k != nil {
			w.remove(removal, k)
		}
	}
}

// remove discards what is kept for a line. The caller holds mu.
func (w *warm) remove(l line, k *keptRun) {
	delete(w.kept, l)
	k.timer.Stop()
	w.discard(k)
}

// after is called at the end of a run: when it went well, the next one of the line is started.
func (w *warm) after(l line, s *spawner, err error) {
	if w.t.o.NoWarm || !keepable(l) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		// What is wrong with the target is wrong for what is kept as well.
		var state *transport.Error
		if errors.As(err, &state) && state.Kind == transport.Busy {
			w.paused = time.Now().Add(warmPause)
		}
		w.drop()
		return
	}
	if w.closed || time.Now().Before(w.paused) || w.kept[l] != nil || !s.use() {
		return
	}
	w.wg.Go(func() {
		defer s.release()
		w.start(l, s)
	})
}

// keepable reports whether a run of a line is kept ready: those that most batches are.
func keepable(l line) bool { return l&^keeping == update || l.base() == remove }

// start starts a run to be kept.
func (w *warm) start(l line, s *spawner) {
	r, err := s.startRun(&w.t.o, l, w.t.o.args(l, w.t.old()))
	if err != nil {
		return // the next batch will meet the same error, and report it
	}
	k := &keptRun{run: r, spawner: s}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.kept[l] != nil {
		w.discard(k)
		return
	}
	w.kept[l] = k
	// Not for as long as a silence ends the connection: rsync tells the daemon of its time-out.
	k.timer = time.AfterFunc(min(w.t.o.WarmIdle, w.t.o.Timeout*3/4), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.kept[l] == k {
			delete(w.kept, l)
			w.discard(k)
		}
	})
}

// discard ends a run that was kept, without being waited for. The caller holds mu.
func (w *warm) discard(k *keptRun) { w.wg.Go(k.run.discard) }

// drop discards all. The caller holds mu.
func (w *warm) drop() {
	for l, k := range w.kept {
		w.remove(l, k)
	}
}

// close discards all and returns when nothing of it is left.
func (w *warm) close() {
	w.mu.Lock()
	w.closed = true
	w.drop()
	w.mu.Unlock()
	w.wg.Wait()
}

// alive reports whether the process waits and the other side is still there, as far as the kernel
// knows. rsync itself does not notice the end of its connection while it waits for the list.
func (r *run) alive() bool {
	select {
	case <-r.done:
		return false
	default:
	}
	for _, n := range descriptors(r.cmd.Process.Pid) {
		if r.hungUp(n) {
			return false
		}
	}
	return true
}

// hungUp reports whether the other end of a descriptor of the process is closed. Not POLLHUP tells it: the kernel says
// that of a socket that was never connected as well (tcp_poll), which is that of a run that was started just now. What
// rsync talks through is a socket always, and one whose connection ended, in whatever way, has POLLRDHUP.
func (r *run) hungUp(n int) bool {
	fd, err := unix.PidfdGetfd(r.pidfd, n, 0)
	if err != nil {
		return false // not allowed to look, or just closed: the run will tell
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err != nil {
		return false
	}
	return poll[0].Revents&unix.POLLRDHUP != 0
}

func tooMany(stderr string) bool { return strings.Contains(stderr, "max connections") }
