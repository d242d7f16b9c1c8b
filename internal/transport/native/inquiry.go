package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"sersync/internal/transport"
	"sersync/internal/wire"
)

// inquiry is one conversation of questions to a target. The answers come in the order of the questions.
type inquiry struct {
	c     *conn
	dealt int // how many answers were dealt with since the target was told

	mu      sync.Mutex
	answers []wire.Message // guarded by mu
	news    chan struct{}
	refused *transport.Error // guarded by mu
	done    bool             // guarded by mu
}

// errYield marks an error of the caller's own function.
type errYield struct{ error }

// inquire has a conversation on a connection that was taken, and gives it back. An error in the midst of it ends the connection: nothing was changed by
// it, and what else is under way goes on.
func (t *Transport) inquire(ctx context.Context, c *conn, begin *wire.Compare, do func(*inquiry) error) error {
	q := &inquiry{c: c, news: make(chan struct{}, 1)}
	c.listen(q.take)
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	err := c.put(begin)
	if err == nil {
		err = do(q)
	}
	if err == nil {
		err = q.end(ctx)
	}
	stop()
	c.silence()
	if err == nil {
		t.give(c)
		return nil
	}
	c.nc.Close()
	var own errYield
	if errors.As(err, &own) {
		return own.error
	}
	return t.ended(ctx, c, err)
}

// take takes what the target says, in the goroutine that reads.
func (q *inquiry) take(m wire.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer poke(q.news)
	switch m := m.(type) {
	case *wire.Done:
		q.done = true
		return nil
	case *wire.Refused:
		q.refused = refusal(m)
		return nil
	case *wire.Listing, *wire.ContentEnd:
		return q.keep(m)
	// The reader uses these again.
	case *wire.Entry:
		kept := *m
		return q.keep(&kept)
	case *wire.Content:
		kept := *m
		kept.Op.Data = bytes.Clone(m.Op.Data)
		return q.keep(&kept)
	case *wire.Result:
		kept := *m
		return q.keep(&kept)
	}
	return fmt.Errorf("%T as an answer to a question: %w", m, wire.ErrFrame)
}

// keep is called with the lock.
func (q *inquiry) keep(m wire.Message) error {
	if len(q.answers) == wire.MaxListings {
		return fmt.Errorf("more than %d answers that were not asked for: %w", wire.MaxListings, wire.ErrFrame)
	}
	q.answers = append(q.answers, m)
	return nil
}

// next waits for the next answer. A refusal of the target is an error.
func (q *inquiry) next(ctx context.Context) (m wire.Message, err error) {
	if err := q.c.flush(); err != nil {
		return nil, err
	}
	for {
		q.mu.Lock()
		if len(q.answers) > 0 {
			m = q.answers[0]
			q.answers = q.answers[1:]
		}
		refused, done := q.refused, q.done
		q.mu.Unlock()
		switch {
		case m != nil:
			return m, q.more()
		case refused != nil:
			return nil, refused
		case done:
			return nil, fmt.Errorf("the end of a conversation before its answers: %w", wire.ErrFrame)
		}
		if _, err := await(ctx, q.c, q.news); err != nil {
			return nil, err
		}
	}
}

// more lets the target go on.
func (q *inquiry) more() error {
	if q.dealt++; q.dealt < wire.MaxListings/2 {
		return nil
	}
	n := q.dealt
	q.dealt = 0
	return q.c.say(&wire.More{Listings: n})
}

// end ends the conversation.
func (q *inquiry) end(ctx context.Context) error {
	if err := q.c.say(&wire.End{}); err != nil {
		return err
	}
	for {
		q.mu.Lock()
		refused, done, extra := q.refused, q.done, len(q.answers)
		q.mu.Unlock()
		switch {
		case extra > 0:
			return fmt.Errorf("%d answers that nobody asked for: %w", extra, wire.ErrFrame)
		case refused != nil:
			return refused
		case done:
			return nil
		}
		if _, err := await(ctx, q.c, q.news); err != nil {
			return err
		}
	}
}
