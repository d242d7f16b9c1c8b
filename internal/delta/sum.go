package delta

import (
	"encoding/binary"
	"sync"

	"github.com/zeebo/blake3"
)

// Sum stands for the whole content of a file. It is BLAKE3 of three things: the size, the holes, and BLAKE3 of all bytes
// outside of them; so a hole costs nothing, however large. The same content with other holes has another Sum: it serves
// to compare two ends of one transfer, which agree on the holes, and for nothing else.
type Sum [32]byte

// summer makes a Sum in a goroutine of its own, as that takes as long as everything else together.
type summer struct {
	jobs  chan buffered
	done  chan struct{}
	data  *blake3.Hasher
	holes *blake3.Hasher
}

// A buffer is memory whose content must stay until the summer has read it: until busy is done.
type buffer struct {
	bytes []byte
	busy  sync.WaitGroup
}

type buffered struct {
	bytes []byte
	of    *buffer
}

// newSummer starts the goroutine; stop or sum end it.
func newSummer() *summer {
	s := &summer{jobs: make(chan buffered, 4), done: make(chan struct{}), data: blake3.New(), holes: blake3.New()}
	go func() {
		defer close(s.done)
		for job := range s.jobs {
			s.data.Write(job.bytes)
			job.of.busy.Done()
		}
	}()
	return s
}

// add takes the bytes that follow, which are in b.
func (s *summer) add(bytes []byte, b *buffer) {
	if len(bytes) == 0 {
		return
	}
	b.busy.Add(1)
	s.jobs <- buffered{bytes, b}
}

func (s *summer) hole(offset, length int64) {
	var p [16]byte
	binary.LittleEndian.PutUint64(p[:8], uint64(offset))
	binary.LittleEndian.PutUint64(p[8:], uint64(length))
	s.holes.Write(p[:])
}

// stop waits for the goroutine. It may be called more than once, and after sum.
func (s *summer) stop() {
	select {
	case <-s.done:
	default:
		close(s.jobs)
		<-s.done
	}
}

// sum is that of a file of this size. Nothing is added after it.
func (s *summer) sum(size int64) Sum {
	s.stop()
	all := blake3.New()
	all.Write(binary.LittleEndian.AppendUint64(nil, uint64(size)))
	all.Write(s.holes.Sum(nil))
	all.Write(s.data.Sum(nil))
	return Sum(all.Sum(nil))
}
