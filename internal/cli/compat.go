package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"sersync/internal/config"
)

const (
	// defaultConfig is what 2.5.4 reads when no -o says otherwise.
	defaultConfig = "confxml.xml"
	// defaultRuns is what 2.5.4 takes for a -n that is 0 or no number.
	defaultRuns = 10
)

// option is one flag of the command line as getopt finds it.
type option struct {
	flag  byte
	value string
	// bare: the flag needs a value and has none.
	bare bool
}

// getopt splits arguments as that of glibc did for 2.5.4: flags in bundles, values attached or separate,
// and words that are no flags wherever they stand.
func getopt(args []string) (options []option, words []string) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return options, append(words, args...)
		}
		if len(arg) < 2 || arg[0] != '-' {
			words = append(words, arg)
			continue
		}
		for i := 1; i < len(arg); i++ {
			o := option{flag: arg[i]}
			if strings.IndexByte("onm", arg[i]) >= 0 {
				switch {
				case i+1 < len(arg):
					o.value, i = arg[i+1:], len(arg)
				case len(args) > 0:
					o.value, args = args[0], args[1:]
				default:
					o.bare = true
				}
			}
			options = append(options, o)
		}
	}
	return options, words
}

// operands are the arguments that are neither flags nor their values.
func operands(args []string) []string {
	_, words := getopt(args)
	return words
}

// oldFlags are the flags of 2.5.4.
type oldFlags struct {
	help, detach, initial bool
	config                string
	// runs is 0 when there was no -n.
	runs int
	// plugins are the values of all -m: the plugin to run without replication.
	plugins []string
}

// parseOld reads the flags of 2.5.4. The last one of its kind wins, but for -m, and what follows -h does not matter.
func parseOld(args []string) (oldFlags, error) {
	f := oldFlags{config: defaultConfig}
	options, _ := getopt(args)
	for _, o := range options {
		if o.bare {
			return f, fail(exitError, fmt.Sprintf("the flag -%c needs a value", o.flag), "see: sersync -h")
		}
		switch o.flag {
		case 'h':
			f.help = true
			return f, nil
		case 'd':
			f.detach = true
		case 'r':
			f.initial = true
		case 'o':
			if o.value == "" {
				return f, fail(exitError, "the file name after -o is empty", "name a configuration: sersync -o FILE")
			}
			f.config = o.value
		case 'n':
			n, err := oldNumber(o.value)
			if err != nil {
				return f, err
			}
			f.runs = n
		case 'm':
			if !slices.Contains([]string{"command", "socket", "refreshCDN", "http"}, o.value) {
				return f, fail(exitError, fmt.Sprintf("there is no plugin %q", o.value), "the plugins are command, socket, refreshCDN and http")
			}
			f.plugins = append(f.plugins, o.value)
		default:
			return f, fail(exitError, fmt.Sprintf("there is no flag -%c", o.flag), "see: sersync -h")
		}
	}
	return f, nil
}

// oldNumber reads the value of -n as atoi did: the digits in front count, and what is no number is 0,
// which stands for the default. 2.5.4 took a negative one and replicated nothing then.
func oldNumber(s string) (int, error) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	rest := strings.TrimPrefix(s, "+")
	negative := strings.HasPrefix(s, "-")
	if negative {
		rest = s[1:]
	}
	n := 0
	for _, c := range []byte(rest) {
		if c < '0' || c > '9' {
			break
		}
		n = min(n*10+int(c-'0'), math.MaxInt32)
	}
	switch {
	case n == 0:
		return defaultRuns, nil
	case negative:
		return 0, fail(exitError, fmt.Sprintf("-n %s: the number of runs cannot be negative", s), "leave -n out for the default, or give 1 or more")
	}
	return n, nil
}

// compat does what 2.5.4 did with its flags.
func (a *app) compat(ctx context.Context, args []string) error {
	f, err := parseOld(args)
	switch {
	case err != nil:
		return err
	case f.help:
		fmt.Fprint(a.out, help)
		return nil
	}
	from := fromFile(f.config, f.initial, false, f.runs)
	if len(f.plugins) > 0 {
		from = pluginsOf(f.config, f.initial, f.plugins)
	}
	return a.serve(ctx, service{load: from, detach: f.detach, reloads: true})
}

// pluginsOf reads a file for one of its plugins alone. 2.5.4 compared all targets first, with -r.
func pluginsOf(file string, initial bool, names []string) load {
	return func() (*config.Config, []config.Problem, error) {
		cfg, problems, err := config.LoadPlugin(file, names...)
		if err == nil && initial {
			problems = append(problems, config.Problem{What: "-r has nothing to compare: with -m there are no targets", Remedy: "run sersync -r without -m for that"})
		}
		return cfg, problems, err
	}
}
