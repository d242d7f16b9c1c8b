package hook

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// CommandOptions are those of the plugin "command" of 2.5.4.
type CommandOptions struct {
	// Prefix and Suffix are text of a shell, between which the path stands as one word.
	Prefix, Suffix string
	// IgnoreError makes a success of any exit status, and drops the messages.
	IgnoreError bool
	// Include are expressions of which one must match the whole absolute path; without any, every path is told.
	Include []string
}

type command struct {
	script  string
	ignore  bool
	include []filter.Expression
}

const (
	shell = "/bin/sh"
	// pathWord is the path in a script: an argument of the shell, which it expands and never parses.
	pathWord = ` "$1" `
	// noWord is a mistake of syntax, unless it stands within quotes or in a comment.
	noWord = " & & "
	// epilogue waits for what was put into the background: 2.5.4 let it run, and it would end with the shell here.
	epilogue = "\nsersync_status=$?\nwait\nexit $sersync_status\n"
)

// NewCommand makes a hook that runs PREFIX PATH SUFFIX by sh, as 2.5.4 did, for one path after another. There the path was a
// part of what the shell parsed; here it is one word whatever its bytes are. So a Prefix and Suffix with which it would stand within
// quotes, in a comment or in a here-document are refused. What remains is a command that has its arguments
// parsed once more (eval, sh -c, su -c, ssh, find -exec sh -c): it runs what is in a name, as it did in 2.5.4.
//
// Unlike 2.5.4, an exit status that is not 0 is an error, so that the path is told again, unless IgnoreError. Its directory is
// the one that sersync was started in, as with 2.5.4, and its environment that of Run.
func NewCommand(o CommandOptions) (Hook, error) {
	c := &command{script: o.Prefix + pathWord + o.Suffix + epilogue, ignore: o.IgnoreError}
	if err := checkShell(o.Prefix, o.Suffix); err != nil {
		return nil, err
	}
	for _, expression := range o.Include {
		include, err := filter.Whole(expression)
		if err != nil {
			return nil, fmt.Errorf("compile include %q: %w", expression, err)
		}
		c.include = append(c.include, include)
	}
	return c, nil
}

func checkShell(prefix, suffix string) error {
	switch {
	case strings.TrimSpace(prefix+suffix) == "":
		return errors.New("command needs a prefix: the program that is told of a path")
	case strings.IndexByte(prefix+suffix, 0) >= 0:
		return errors.New("prefix or suffix of command holds a zero byte")
	case strings.HasSuffix(prefix, `\`):
		return fmt.Errorf(`prefix %q of command ends in a backslash, which makes one word of it and the path: remove it`, prefix)
	case strings.HasSuffix(suffix, `\`):
		return fmt.Errorf("suffix %q of command ends in a backslash: remove it", suffix)
	}
	if err := parse(prefix + pathWord + suffix + epilogue); err != nil {
		return fmt.Errorf("read prefix %q and suffix %q of command as %s does: %w", prefix, suffix, shell, err)
	}
	if parse(prefix+noWord+suffix+epilogue) == nil {
		return fmt.Errorf("the path would stand within quotes, in a comment or in a here-document, between prefix %q and suffix %q of command: "+
			"write them so that the path is a word of its own", prefix, suffix)
	}
	return nil
}

// parse has the shell read a script, and run nothing of it.
func parse(script string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-n", "-c", script)
	cmd.Dir, cmd.Env = "/", []string{}
	said, err := cmd.CombinedOutput()
	if err != nil && len(said) > 0 {
		return errors.New(quote(string(said)))
	}
	return err
}

// Tell runs the command for each path.
func (c *command) Tell(ctx context.Context, e Event) error {
	for _, p := range e.Paths {
		path := absolute(e.Root, p.Path)
		told, err := c.included(path)
		if err == nil && (told || e.Test || p.What == Many) {
			err = c.one(ctx, e, path)
		}
		if err != nil {
			return fmt.Errorf("run command for %s: %w", change.Path(path), err)
		}
	}
	return nil
}

func (c *command) one(ctx context.Context, e Event, path string) error {
	err := process{argv: []string{shell, "-c", c.script, "sh", path}, quiet: c.ignore, event: e}.run(ctx)
	if _, status := errors.AsType[exitError](err); status && c.ignore {
		return nil
	}
	return err
}

func (c *command) included(path string) (bool, error) {
	if len(c.include) == 0 {
		return true, nil
	}
	var timedOut error
	matches := func(include filter.Expression) bool {
		_, ok, err := include.Match(path)
		if err != nil {
			timedOut = err
		}
		return ok
	}
	if slices.ContainsFunc(c.include, matches) {
		return true, nil
	}
	return false, timedOut
}
