package delta

import (
	"encoding/binary"
	"sync"

	"github.com/zeebo/blake3"
)

// Sum stands for the whole content of a file. It is BLAKE3 of all bytes outside of holes, of BLAKE3 of the holes if there
// are any, of their number and of the size; so a hole costs nothing, however large. The same content with other holes has
// another Sum: it serves to compare two ends of one transfer, which agree on the holes, and for nothing else.
type Sum [32]byte

// summer makes a Sum, in a goroutine of its own where that is worth it: it takes as long as everything else together.
type summer struct {
	size  int64
	data  *blake3.Hasher
	holes *blake3.Hasher // nil: there was none
	count int64
	// jobs is nil where there is no goroutine, and again after its end.
	jobs chan buffered
	done chan struct{}
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

// newSummer is for a file of this size. Where it starts a goroutine, stop and sum end it.
func newSummer(size int64) *summer {
	s := &summer{size: size, data: blake3.New()}
	if size <= MaxData {
		return s
	}
	s.jobs, s.done = make(chan buffered, 4), make(chan struct{})
	go func(jobs <-chan buffered) {
		defer close(s.done)
		for job := range jobs {
			s.data.Write(job.bytes)
			job.of.busy.Done()
		}
	}(s.jobs)
	return s
}

// add takes the bytes that follow, which are in b.
func (s *summer) add(bytes []byte, b *buffer) {
	switch {
	case len(bytes) == 0:
	case s.jobs == nil:
		s.data.Write(bytes)
	default:
		b.busy.Add(1)
		s.jobs <- buffered{bytes, b}
	}
}

func (s *summer) hole(offset, length int64) {
	if s.holes == nil {
		s.holes = blake3.New()
	}
	s.count++
	s.holes.Write(numbers(offset, length))
}

func numbers(a, b int64) []byte {
	p := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), uint64(a))
	return binary.LittleEndian.AppendUint64(p, uint64(b))
}

// stop waits for the goroutine. It may be called more than once, and after sum.
func (s *summer) stop() {
	if s.jobs != nil {
		close(s.jobs)
		<-s.done
		s.jobs = nil
	}
}

// sum is that of the file. Nothing is added after it.
func (s *summer) sum() Sum {
	s.stop()
	if s.holes != nil {
		s.data.Write(s.holes.Sum(nil))
	}
	s.data.Write(numbers(s.count, s.size))
	return Sum(s.data.Sum(nil))
}
