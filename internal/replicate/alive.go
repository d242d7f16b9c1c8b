package replicate

import (
	"context"
	"fmt"
)

// Alive returns nil when the intake answers: the loop without which no change is marked. While the root is gone there
// is none, and nothing to ask. The error says which source did not answer before ctx ended.
func (s *Source) Alive(ctx context.Context) error {
	sess := s.session()
	if sess == nil {
		return nil
	}
	defer sess.users.Done()
	select {
	case sess.alive <- struct{}{}:
		return nil
	case <-sess.over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask source %q: %w", s.options().Name, context.Cause(ctx))
	}
}
