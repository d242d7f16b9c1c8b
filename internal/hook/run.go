package hook

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// RunOptions say which program Run tells.
type RunOptions struct {
	// Argv is the program, absolute or a name to look for in PATH, and its arguments. No shell sees them.
	Argv []string
	// URLs, when there are any, are those of the paths; a path without one is not told.
	URLs URLs
}

type run struct{ o RunOptions }

// NewRun makes a hook that runs a program for each event, which is on its standard input as one line of JSON. It is a success when
// the program exits with 0. Its environment is PATH, HOME and LANG of ours, SERSYNC_ON and SERSYNC_SOURCE; its
// directory is /. What it starts in the background ends with it, unless it leaves the process group.
func NewRun(o RunOptions) (Hook, error) {
	if len(o.Argv) == 0 || o.Argv[0] == "" {
		return nil, errors.New("run needs a program: [/usr/local/bin/purge, --fast]")
	}
	if strings.Contains(o.Argv[0], "/") && o.Argv[0][0] != '/' {
		return nil, fmt.Errorf("program %q of run is relative: write the whole path", o.Argv[0])
	}
	for _, arg := range o.Argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return nil, fmt.Errorf("argument %q of run holds a zero byte", arg)
		}
	}
	return run{o}, nil
}

// Tell runs the program.
func (r run) Tell(ctx context.Context, e Event) error {
	m, ok := r.o.URLs.message(e)
	if !ok {
		return nil
	}
	stdin, err := line(m)
	if err != nil {
		return err
	}
	if err := (process{argv: r.o.Argv, stdin: stdin, dir: "/", event: e}).run(ctx); err != nil {
		return fmt.Errorf("run %q: %w", r.o.Argv[0], err)
	}
	return nil
}
