package filter

import (
	"sync"
	"time"

	"github.com/dlclark/regexp2"

	"sersync/internal/change"
)

// matchTimeout bounds one match, against names made to keep a backtracking expression busy. The clock of
// regexp2 ticks every 100 ms.
const matchTimeout = 50 * time.Millisecond

// regexMatcher is an expression of <filter>.
type regexMatcher struct {
	named
	re     *regexp2.Regexp
	filter *Filter
	once   *sync.Once
}

func newRegexMatcher(base named, expression string, f *Filter) (matcher, error) {
	re, err := compile(`\A(?:`, expression, `)\z`)
	if err != nil {
		return nil, err
	}
	return &regexMatcher{named: base, re: re, filter: f, once: new(sync.Once)}, nil
}

func (m *regexMatcher) match(s subject) bool {
	first := s.bytes
	if len(s.nameBytes) < len(s.bytes) {
		first = "/" + s.bytes
	}
	return m.full(first, s.path) || s.dir && m.full(s.bytes+"/", s.path)
}

func (m *regexMatcher) full(subject string, p change.Path) bool {
	ok, err := m.re.MatchString(subject)
	if err != nil && m.filter.OnTimeout != nil {
		m.once.Do(func() { m.filter.OnTimeout(m.name(), p) })
	}
	return ok && err == nil
}
