package docs

import (
	"regexp"
	"strings"
	"testing"

	"sersync/internal/cli"
)

// commandLine finds a call of sersync in a line of a shell, up to what ends it.
var commandLine = regexp.MustCompile(`(?:^|&& |; |sudo )(?:bin/)?sersync ([^|;&>#]*)`)

// oldFlags are those of 2.5.4, in a bundle.
var oldFlags = regexp.MustCompile(`^-[rdonm]+$`)

// calls are the arguments of sersync in a block. Where a block shows prompts, the lines without one are output.
func calls(b block) (all [][]string) {
	prompts := regexp.MustCompile(`(?m)^\s*\$ `).MatchString(b.text)
	for line := range strings.Lines(b.text) {
		line = strings.TrimSpace(line)
		rest, prompt := strings.CutPrefix(line, "$ ")
		if prompts && !prompt {
			continue
		}
		for _, m := range commandLine.FindAllStringSubmatch(rest, -1) {
			if args := words(m[1]); len(args) > 0 {
				all = append(all, args)
			}
		}
	}
	return all
}

// words takes a line of a shell apart, as far as the documents need it: single quotes, no escapes.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

// Whoever types what a document shows is not told that there is no such command or flag.
func TestCommandsThatAreShownAreThere(t *testing.T) {
	count := 0
	for name, d := range documents(t) {
		for _, b := range d.blocks {
			if b.info != "" {
				continue
			}
			for _, args := range calls(b) {
				count++
				if strings.HasPrefix(args[0], "-") {
					if !oldFlags.MatchString(args[0]) {
						t.Errorf("%s: sersync %q: not flags of 2.5.4", name, args)
					}
					continue
				}
				c, rest, err := cli.Commands().Find(args)
				if err != nil || !c.Runnable() || c.Parent() == nil {
					t.Errorf("%s: sersync %q: no such command: %v", name, args, err)
					continue
				}
				if err := c.ParseFlags(rest); err != nil {
					t.Errorf("%s: sersync %q: %v", name, args, err)
					continue
				}
				if err := c.ValidateArgs(c.Flags().Args()); err != nil {
					t.Errorf("%s: sersync %q: %v", name, args, err)
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("%d commands were found", count)
	}
}
