// Package filter is the second step of the path of a change: it gives one verdict on a path,
// for watch, scan, sweeps and senders alike, and names the rule that decided.
//
// A name is bytes: a rule never sees characters of more than one byte, so that a pattern in UTF-8
// matches the same bytes, and a name in another encoding can be matched at all.
package filter

import (
	"errors"
	"fmt"

	"sersync/internal/change"
)

// Kind is what a path is, as far as a rule may care.
type Kind uint8

const (
	// Unknown is the kind of what is gone. It is dropped when either a file or a directory of
	// that name would be.
	Unknown Kind = iota
	File
	Dir
)

// Verdict is what a filter says of a path.
type Verdict struct {
	Keep bool
	// Rule names the rule that decided, with its place in the configuration; empty when none did.
	Rule string
}

// Filter holds rules. A nil Filter keeps everything. It is safe for concurrent use.
type Filter struct {
	rules []matcher
	dirs  *dirCache
	any   bool
	// mounts is asked first, and its answer is never kept: what is mounted changes. It may be nil.
	mounts *mountMatcher
	// OnTimeout is told of a regular expression that ran out of time on a path, which
	// is kept then, as far as this rule goes: a file too many can be removed, a lost one cannot be
	// found again. It is called once for each rule. Set it before the first Verdict.
	OnTimeout func(rule string, p change.Path)
}

// matcher is a compiled rule.
type matcher interface {
	// match reports whether the rule says anything of the path, whose ancestors are kept.
	match(s subject) bool
	// include reports whether the rule keeps what it matches.
	include() bool
	// name is what a person reads.
	name() string
}

// New compiles rules. The last rule that matches a path decides, but nothing can take back
// what Own, Partial, Trash, Temp and Hidden drop. All rules that do not compile are in the error, joined.
func New(rules ...Rule) (*Filter, error) {
	f := &Filter{dirs: newDirCache(maxDirs)}
	var errs []error
	var final []matcher
	for _, r := range append(BuiltIn(), rules...) {
		if r.Type == typeMounts {
			f.mounts, f.any = &mountMatcher{named(r.String()), r.Pattern}, true
			continue
		}
		m, err := r.compile(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("compile rule %s: %w", r, err))
			continue
		}
		// What is our own is on no target: it does not keep a directory from being removed there.
		f.any = f.any || r.Type != typeOwn && r.Type != typePartial && r.Type != typeTrash && r.Type != typeTemp
		if r.Type == typeRegex || r.Type == typeGlob {
			f.rules = append(f.rules, m)
		} else {
			final = append(final, m)
		}
	}
	f.rules = append(f.rules, final...)
	return f, errors.Join(errs...)
}

// Verdict says whether p is replicated. What lies below a dropped directory is dropped.
func (f *Filter) Verdict(p change.Path, k Kind) Verdict {
	if f == nil || p == change.Root {
		return Verdict{Keep: true}
	}
	if f.mounts != nil && f.mounts.beyond(p) {
		return Verdict{Rule: f.mounts.name()}
	}
	if v := f.dir(p.Parent()); !v.Keep {
		return v
	}
	if k == Dir {
		return f.dir(p)
	}
	return f.decide(p, k)
}

// Any reports whether there is a rule by which a target may hold, below a directory, what must not be removed
// with it.
func (f *Filter) Any() bool { return f != nil && f.any }

// OneFileSystem reports whether what is mounted below the root is dropped.
func (f *Filter) OneFileSystem() bool { return f != nil && f.mounts != nil }

// dir is the verdict on a directory. It is asked for once for each path below it, so it is kept.
func (f *Filter) dir(p change.Path) Verdict {
	if p == change.Root {
		return Verdict{Keep: true}
	}
	if v, ok := f.dirs.get(p); ok {
		return v
	}
	v := f.dir(p.Parent())
	if v.Keep {
		v = f.decide(p, Dir)
	}
	f.dirs.put(p, v)
	return v
}

// decide asks the rules about p alone.
func (f *Filter) decide(p change.Path, k Kind) Verdict {
	if k != Unknown {
		return f.ask(p, k)
	}
	if v := f.ask(p, File); !v.Keep {
		return v
	}
	return f.ask(p, Dir)
}

func (f *Filter) ask(p change.Path, k Kind) Verdict {
	s := newSubject(p, k)
	for i := len(f.rules) - 1; i >= 0; i-- {
		if m := f.rules[i]; m.match(s) {
			return Verdict{Keep: m.include(), Rule: m.name()}
		}
	}
	return Verdict{Keep: true}
}
