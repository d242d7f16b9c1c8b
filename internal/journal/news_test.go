package journal

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sersync/internal/change"
)

// sender takes and acks until stop is closed, and waits when there is nothing to take.
func sender(target *Target, r *rand.Rand, stop <-chan struct{}) {
	for {
		batch := target.Take(1 + r.IntN(7))
		for _, m := range batch {
			switch r.IntN(10) {
			case 0:
				target.Fail(m, errTest, time.Now().Add(time.Second), false)
			case 1:
				target.PutBack(m)
			default:
				target.Ack(m)
			}
		}
		if len(batch) > 0 {
			continue
		}
		var due <-chan time.Time
		if next, ok := target.Next(); ok {
			due = time.After(time.Until(next))
		}
		select {
		case <-target.News():
		case <-due:
		case <-stop:
			return
		}
	}
}

func TestSendersThatWaitForNewsComeToRestWithNothingOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, stop := New(0), make(chan struct{})
		var senders, writers sync.WaitGroup
		for n := range uint64(3) {
			target := j.Open(fmt.Sprint(n))
			senders.Go(func() { sender(target, rand.New(rand.NewPCG(n, 2)), stop) })
		}
		for n := range uint64(3) {
			writers.Go(func() {
				r := rand.New(rand.NewPCG(n, 3))
				for range 2000 {
					record(j, change.Path(fmt.Sprint(r.IntN(50))), time.Now(), 0)
					j.Open("1").Again(time.Now().Add(time.Minute), change.Mark{Path: "again"})
					if r.IntN(20) == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		writers.Wait()
		time.Sleep(time.Hour)
		synctest.Wait()
		for n := range 3 {
			same(t, "counts at rest", j.Open(fmt.Sprint(n)).Counts(), Counts{})
		}
		close(stop)
		senders.Wait()
	})
}
