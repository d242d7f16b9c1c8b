package config

import (
	"slices"
	"strings"
	"time"

	"sersync/internal/filter"
)

// Each of these makes a reader of one value.

func (y *yamlReader) text(into *string) func(*ynode) {
	return func(n *ynode) {
		if y.is(n, yScalar, y.key) {
			*into = n.text
		}
	}
}

// path is a file or directory; a relative one is taken from where sersync was started.
func (y *yamlReader) path(into *string) func(*ynode) {
	return func(n *ynode) {
		if !y.is(n, yScalar, y.key) {
			return
		}
		if strings.IndexByte(n.text, 0) >= 0 || n.text == "" {
			y.fail(n.line, y.key+" is no path of a file:", n.text, "write an absolute path")
			return
		}
		*into = absolute(n.text)
	}
}

func (y *yamlReader) bool(into *bool) func(*ynode) {
	return func(n *ynode) {
		switch {
		case !y.is(n, yScalar, y.key):
		case n.text == "true", n.text == "false":
			*into = n.text == "true"
		default:
			y.fail(n.line, y.key+" is neither true nor false:", n.text, "write true or false")
		}
	}
}

// initial is true, false, or fill.
func (y *yamlReader) initial(s *Source) func(*ynode) {
	return func(n *ynode) {
		switch {
		case !y.is(n, yScalar, y.key):
		case n.text == "true", n.text == "false", n.text == "fill":
			s.Initial, s.Fill = n.text == "true", n.text == "fill"
		default:
			y.fail(n.line, y.key+" is none of its values:", n.text, "write true, false or fill")
		}
	}
}

func (y *yamlReader) not(into *bool) func(*ynode) {
	return func(n *ynode) {
		value := !*into
		y.bool(&value)(n)
		*into = !value
	}
}

func (y *yamlReader) oneOf(into *string, values ...string) func(*ynode) {
	return func(n *ynode) {
		switch {
		case !y.is(n, yScalar, y.key):
		case slices.Contains(values, n.text):
			*into = n.text
		default:
			y.fail(n.line, "unknown value of "+y.key, n.text, "write "+strings.Join(values, ", "))
		}
	}
}

func (y *yamlReader) int(into *int, low, high int) func(*ynode) {
	return y.checked(func(s string) (err error) {
		var n int
		if n, err = parseInt(s, low, high); err == nil {
			*into = n
		}
		return err
	})
}

func (y *yamlReader) duration(into *time.Duration, low, high time.Duration) func(*ynode) {
	return y.checked(func(s string) (err error) {
		var d time.Duration
		if d, err = parseDuration(s, low, high); err == nil {
			*into = d
		}
		return err
	})
}

func (y *yamlReader) schedule(into *string) func(*ynode) {
	return y.checked(func(s string) error {
		_, err := ParseSchedule(s)
		if err == nil {
			*into = s
		}
		return err
	})
}

// wholeSeconds is a time-out, which rsync and ssh take in seconds.
func (y *yamlReader) wholeSeconds(into *time.Duration) func(*ynode) {
	return func(n *ynode) {
		y.duration(into, time.Second, 24*time.Hour)(n)
		*into = into.Round(time.Second)
	}
}

// pace is a duration, of which 0 is no pace at all.
func (y *yamlReader) pace(into *time.Duration) func(*ynode) {
	return func(n *ynode) {
		y.duration(into, 0, time.Hour)(n)
		if *into == 0 {
			*into = -1
		}
	}
}

// days is a time of whole days.
func (y *yamlReader) days(into *int) func(*ynode) {
	return y.checked(func(s string) (err error) {
		var n int
		if n, err = parseDays(s); err == nil {
			*into = n
		}
		return err
	})
}

func (y *yamlReader) parsed(into *int64, parse func(string) (int64, error)) func(*ynode) {
	return y.checked(func(s string) (err error) {
		var n int64
		if n, err = parse(s); err == nil {
			*into = n
		}
		return err
	})
}

func (y *yamlReader) checked(set func(string) error) func(*ynode) {
	return func(n *ynode) {
		if !y.is(n, yScalar, y.key) {
			return
		}
		if err := set(n.text); err != nil {
			y.fail(n.line, y.key+" cannot be used:", n.text, err.Error())
		}
	}
}

// rules reads a list of patterns into the filter.
func (y *yamlReader) rules(s *Source, check func(string) error, rule func(place, pattern string) filter.Rule) func(*ynode) {
	return y.patterns(check, func(n *ynode) { s.Rules = append(s.Rules, rule(y.at(n.line).String(), n.text)) })
}

// patterns reads a list of patterns, and takes those that are good.
func (y *yamlReader) patterns(check func(string) error, take func(*ynode)) func(*ynode) {
	return func(n *ynode) {
		y.items(n, y.key, func(n *ynode) {
			if !y.is(n, yScalar, "a pattern of "+y.key) {
				return
			}
			if err := check(n.text); err != nil {
				y.fail(n.line, y.key+": pattern does not compile:", n.text, err.Error())
				return
			}
			take(n)
		})
	}
}

func (y *yamlReader) hidden(s *Source) func(*ynode) {
	return func(n *ynode) {
		var on bool
		if y.bool(&on)(n); on {
			s.Rules = append(s.Rules, filter.Hidden(y.at(n.line).String()))
		}
	}
}
