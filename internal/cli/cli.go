// Package cli is the command line: the flags of sersync 2.5.4, and commands. It is no step of the
// path of a change; it starts the daemon that is, and asks a running one.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sersync/internal/daemon"
	"sersync/internal/receive"
)

// app is what all commands share.
type app struct {
	out, err io.Writer
}

// Main does what the arguments ask for and returns the exit code.
func Main(ctx context.Context, args []string, out, err io.Writer) int {
	keepInherited()
	a := &app{out: out, err: err}
	return a.report(a.dispatch(ctx, args))
}

// dispatch tells the two forms apart: with a command word it is ours, without one that of 2.5.4.
func (a *app) dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == receiveProcess {
		// There is one for each module: what commands take in memory is too much for it.
		return receive.Child(args[1:], daemon.ReceivePlugs(Version))
	}
	root := a.commands()
	words := operands(args)
	switch {
	case slices.Equal(args, []string{"--help"}):
		fmt.Fprint(a.out, help)
		return nil
	case slices.Equal(args, []string{"--version"}):
		args = []string{"version"}
	case len(args) == 0:
		if _, err := os.Stat(defaultConfig); err != nil {
			fmt.Fprint(a.err, help)
			return fail(exitError, "there is no command, and no "+defaultConfig+" in this directory", "sersync run CONFIG")
		}
		return a.compat(ctx, args)
	case len(words) == 0 || !isCommand(root, words[0]):
		// 2.5.4 ignores words that are no flags; but where there is nothing else, somebody meant one.
		if len(words) == len(args) {
			return unknownCommand(root, words[0])
		}
		return a.compat(ctx, args)
	}
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if noConfig(err) {
		return fail(exitConfig, err.Error(), "name the configuration: "+strings.TrimSuffix(c.CommandPath(), c.Name())+c.Use)
	}
	return err
}

// Commands are the commands of our own, for those who write of them.
func Commands() *cobra.Command {
	a := &app{out: io.Discard, err: io.Discard}
	return a.commands()
}

// commands are the commands of our own.
func (a *app) commands() *cobra.Command {
	root := &cobra.Command{
		Use:           "sersync",
		Short:         "replicate directory trees from one server to many, in real time",
		Long:          help,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(*cobra.Command, []string) error { return usage("there is no command") },
		// How many letters a word may differ in from the command that is suggested.
		SuggestionsMinimumDistance: 2,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err.Error()) })
	usual := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c == root {
			fmt.Fprint(a.out, help)
			return
		}
		usual(c, args)
	})
	root.AddCommand(
		a.run(), a.sync(), a.check(), a.doctor(), a.explained(), a.verify(),
		a.status(), a.wait(), a.sweep(), a.pause(), a.resume(), a.deletes(), a.undelete(), a.failed(), a.hooks(), a.events(), a.logLevel(),
		a.receive(), a.convert(), a.watch(), a.service(), a.torture(), a.version(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// isCommand reports whether the word begins a command. Those with two underscores are what
// completion scripts call.
func isCommand(root *cobra.Command, word string) bool {
	if word == cobra.ShellCompRequestCmd || word == cobra.ShellCompNoDescRequestCmd {
		return true
	}
	return slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == word || c.HasAlias(word) })
}

func unknownCommand(root *cobra.Command, word string) error {
	hint := "see: sersync --help"
	if near := root.SuggestionsFor(word); len(near) > 0 {
		hint = "did you mean: sersync " + near[0]
	} else if info, err := os.Stat(word); err == nil && info.Mode().IsRegular() {
		hint = "did you mean: sersync run " + word
	}
	return fail(exitUsage, fmt.Sprintf("there is no command %q", word), hint)
}

// between wants a number of arguments, and says what they are when it is another.
func between(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < low || high >= 0 && len(args) > high {
			return usage(fmt.Sprintf("got %s, want %s", plural(len(args), "argument"), what))
		}
		return nil
	}
}
