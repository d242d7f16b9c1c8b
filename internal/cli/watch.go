package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sersync/internal/watch/raw"
)

// exitIdle is what inotifywait returns when the time of -t is over.
const exitIdle = 2

// watchFlags are those of inotifywait.
type watchFlags struct {
	monitor, recursive bool
	quiet              int
	events             []string
	format, timeFormat string
	exclude, excludeI  string
	timeout            int
}

func (a *app) watch() *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use:   "watch FILE...",
		Short: "print what happens in directories, as inotifywait does",
		Long: `watch prints what the kernel says of files and directories: one line an event, with the flags, the output and the exit codes of inotifywait.
Without -m it ends after the first event: with 0 when it was one that was asked for, else with 1. It returns 2 when the time of -t is over.

    %w  the watched directory     %e  the events, with commas       %T  the time, by --timefmt
    %f  the name in it            %Xe the events, with X between    %c  what both halves of a move share
    %n  a newline                 %0  a zero byte                   %%  a percent sign

Events: access, modify, attrib, close_write, close_nowrite, close, open, moved_to, moved_from, move, move_self, create, delete, delete_self, unmount.
With -r, symlinks below the directory are not followed.`,
		Example: `  sersync watch -mrq --timefmt '%Y-%m-%d:%H:%M' --format '%T %w%f' -e create,delete /data
  sersync watch -q -t 60 -e close_write upload && echo something came`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return a.watchFiles(c.Context(), args, f) },
	}
	// 2, the usual code, would say that the time is over.
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fail(exitError, err.Error(), "see: sersync watch --help")
	})
	c.Flags().BoolVarP(&f.monitor, "monitor", "m", false, "go on after the first event")
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "watch everything below the directories too")
	c.Flags().CountVarP(&f.quiet, "quiet", "q", "say nothing but events; -qq not even these")
	c.Flags().StringArrayVarP(&f.events, "event", "e", nil, "an event to listen for, or several with commas; all without it")
	c.Flags().StringVar(&f.format, "format", "", `how an event is printed (default "%w %e %f")`)
	c.Flags().StringVar(&f.timeFormat, "timefmt", "", "how %T is printed, as strftime has it")
	c.Flags().StringVar(&f.exclude, "exclude", "", "leave out paths that match this extended regular expression")
	c.Flags().StringVar(&f.excludeI, "excludei", "", "the same without regard to case")
	c.Flags().IntVarP(&f.timeout, "timeout", "t", 0, "end when nothing happened for so many seconds; 0 is never")
	c.MarkFlagsMutuallyExclusive("exclude", "excludei")
	return c
}

func (a *app) watchFiles(ctx context.Context, files []string, f watchFlags) error {
	say := func(format string, args ...any) {
		if f.quiet == 0 {
			fmt.Fprintf(a.err, format+"\n", args...)
		}
	}
	mask, format, exclude, err := f.read()
	if err == nil && len(files) == 0 {
		err = errors.New("no files specified to watch")
	}
	if err != nil {
		return fail(exitError, err.Error(), "see: sersync watch --help")
	}
	lost := func(err error) { fmt.Fprintln(a.err, watchError(err)) }
	w, err := raw.New(raw.Options{Mask: mask, Recursive: f.recursive, Exclude: exclude, Lost: lost})
	if err != nil {
		return err
	}
	defer w.Close()
	if f.recursive {
		say("Setting up watches.  Beware: since -r was given, this may take a while!")
	} else {
		say("Setting up watches.")
	}
	for _, name := range files {
		if err := w.Add(name); err != nil {
			fmt.Fprintln(a.err, watchError(err))
			return fail(exitError, "", "")
		}
	}
	say("Watches established.")
	return a.printEvents(ctx, w, f, mask, format)
}

// read makes sense of the flags.
func (f watchFlags) read() (mask uint32, format *raw.Format, exclude *regexp.Regexp, err error) {
	if mask, err = raw.Mask(f.events); err != nil {
		return 0, nil, nil, err
	}
	if format, err = raw.NewFormat(f.format, f.timeFormat); err != nil {
		return 0, nil, nil, err
	}
	if expression := f.exclude + f.excludeI; expression != "" {
		if exclude, err = raw.Regex(expression, f.excludeI != ""); err != nil {
			return 0, nil, nil, fmt.Errorf("error in `exclude' regular expression: %w", err)
		}
	}
	if f.timeout < 0 {
		return 0, nil, nil, fmt.Errorf("'%d' is not a valid timeout value", f.timeout)
	}
	return mask, format, exclude, nil
}

func (a *app) printEvents(ctx context.Context, w *raw.Watcher, f watchFlags, mask uint32, format *raw.Format) error {
	var wrote error
	asked := true
	done, err := w.Run(ctx, time.Duration(f.timeout)*time.Second, func(e raw.Event) bool {
		if asked = e.Mask&mask != 0; asked && f.quiet < 2 {
			_, wrote = a.out.Write(format.Append(nil, e, time.Now()))
		}
		return f.monitor && wrote == nil
	})
	switch {
	case wrote != nil:
		return fmt.Errorf("print event: %w", wrote)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(exitIdle, "", "")
	case err != nil:
		return err
	case !done || !asked:
		// Interrupted, or an event that nobody asked for: the directory is gone.
		return fail(exitError, "", "")
	}
	return nil
}

// watchError says what inotifywait says when something cannot be watched.
func watchError(err error) string {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "Couldn't watch " + quote(path.Path) + ": No such file or directory"
	}
	if errors.Is(err, unix.ENOSPC) {
		return "Failed to watch " + quote(path.Path) + "; upper limit on inotify watches reached!\n" +
			"Please increase the amount of inotify watches allowed per user via `/proc/sys/fs/inotify/max_user_watches'."
	}
	return "Couldn't watch " + quote(path.Path) + ": " + path.Err.Error()
}
