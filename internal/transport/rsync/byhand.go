package rsync

import (
	"slices"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// ByHand are the words of a command by which a person does for one path what a batch could not do, in the directory of
// the source; with list it reads the path from standard input instead, with a zero byte at its end. An update by hand
// removes no directory to make way; where there is a trash, what it overwrites goes there too. It works with every rsync that batches work with.
func (o Options) ByHand(op transport.Op, p change.Path, list bool) []string {
	o.defaults()
	l := update | keeping
	switch op {
	case transport.Remove:
		l = remove
	case transport.RemoveExact:
		l = removeExact
	}
	if o.Trash {
		l |= trashing
	}
	by, from := byArgs, []string{"--", "./" + string(p)}
	if list {
		by, from = byList, []string{"./"}
	}
	words := slices.DeleteFunc(o.options(l, by, true), func(w string) bool { return w == outFormat })
	words = append(append([]string{o.Program}, words...), o.connection()...)
	return append(append(words, from...), o.destination())
}
