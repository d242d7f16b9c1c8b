package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

func (a *app) hooks() *cobra.Command {
	c := &cobra.Command{
		Use:   "hooks",
		Short: "who is told of what happened: how they are, try one, tell again what failed",
		Args:  between(1, 1, "list, test, retry or clear"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usage(fmt.Sprintf("there is no command %q", "hooks "+args[0]))
		},
	}
	var asJSON bool
	list := &cobra.Command{
		Use:   "list [CONFIG]",
		Short: "say of each hook what waits, what failed, and when it was told last",
		Args:  between(0, 1, "the configuration file or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.listHooks(c, args, asJSON) },
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print it for programs; the form is documented and stable")
	var tested, retried, cleared httpd.HookRequest
	test := &cobra.Command{
		Use:   "test NAME [CONFIG]",
		Short: "call a hook once, with an event that says that it is a test",
		Long: `test calls a hook once and says what came of it. The event has "test": true, and when the hook is told of paths, one path, which
need not exist. include and exclude do not count for it, but without a URL there is nothing to purge: name a path that has one.`,
		Args: between(1, 2, "the name of a hook and the configuration file or nothing"),
		RunE: func(c *cobra.Command, args []string) error { return a.testHook(c, args, tested) },
	}
	test.Flags().StringVar(&tested.Path, "path", "", "the path of the event, below the source (default: sersync-test)")
	retry := &cobra.Command{
		Use:   "retry [NAME [CONFIG]]",
		Short: "tell again now what hooks could not be told, dead letters too",
		Args:  between(0, 2, "the name of a hook and the configuration file, or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.retryHooks(c, args, retried) },
	}
	clean := &cobra.Command{
		Use:   "clear [NAME [CONFIG]]",
		Short: "forget the dead letters of hooks: what could not be told is not told any more",
		Args:  between(0, 2, "the name of a hook and the configuration file, or nothing"),
		RunE:  func(c *cobra.Command, args []string) error { return a.clearHooks(c, args, cleared) },
	}
	for c, r := range map[*cobra.Command]*httpd.HookRequest{test: &tested, retry: &retried, clean: &cleared} {
		c.Flags().StringVar(&r.Source, "source", "", "only that of this source, named as in status")
	}
	c.AddCommand(list, test, retry, clean)
	return c
}

// listedHook is a hook and whose it is. Its JSON form is an interface: fields are added, never changed.
type listedHook struct {
	Source string `json:"source"`
	replicate.HookStatus
}

func (a *app) listHooks(c *cobra.Command, args []string, asJSON bool) error {
	all, err := running(c.Context(), args)
	if err != nil {
		return err
	}
	found := []listedHook{}
	for _, i := range all {
		for _, s := range i.status.Sources {
			for _, h := range s.Hooks {
				found = append(found, listedHook{s.Name, h})
			}
		}
	}
	if asJSON {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Hooks []listedHook `json:"hooks"`
		}{found})
	}
	if len(found) == 0 {
		fmt.Fprintln(a.out, "no hook is configured")
		return nil
	}
	newPrinter(a.out).listHooks(found)
	return nil
}

// errorColumns is how much of an error stands in a table; --json has all of it.
const errorColumns = 160

func (p *printer) listHooks(all []listedHook) {
	rows := [][]string{{"SOURCE", "NAME", "ON", "TARGET", "WAITING", "DEAD", "TOLD", "FAILURES", "LAST TOLD", "LAST ERROR"}}
	for _, h := range all {
		target, at, last := "-", "-", "-"
		if h.Target != "" {
			target = quote(h.Target)
		}
		if h.ToldAt != nil {
			at = clock(*h.ToldAt)
		}
		if e := h.LastError; e != nil {
			last = clock(e.Last) + " " + shortened(e.Text, errorColumns)
		}
		rows = append(rows, []string{
			quote(h.Source), h.Name, h.On, target, fmt.Sprint(h.Waiting), fmt.Sprint(h.Dead),
			fmt.Sprint(h.Told), fmt.Sprint(h.Failures), at, last,
		})
	}
	p.table(rows, func(column int, text string) string {
		if column == 5 && text != "0" {
			return red
		}
		return ""
	})
}

// shortened is a text in at most so many columns, with a sign that there is more.
func shortened(text string, columns int) string {
	if short := cut(text, columns); short != text {
		return cut(text, columns-1) + "…"
	}
	return text
}

func (a *app) testHook(c *cobra.Command, args []string, req httpd.HookRequest) error {
	i, err := only(c, args[1:])
	if err != nil {
		return err
	}
	req.Hook = args[0]
	tested, err := i.TestHook(c.Context(), req)
	if err != nil {
		return err
	}
	took := time.Duration(tested.Took * float64(time.Second))
	fmt.Fprintf(a.out, "%s: hook %s was told in %s\n", quote(tested.Source), tested.Hook, age(took))
	return nil
}

func (a *app) retryHooks(c *cobra.Command, args []string, req httpd.HookRequest) error {
	i, req, err := hookOf(c, args, req)
	if err != nil {
		return err
	}
	retried, err := i.RetryHooks(c.Context(), req)
	if err != nil {
		return err
	}
	a.hookPaths(retried, "%s: %s told again now\n", "path", "no hook has failed")
	return nil
}

func (a *app) clearHooks(c *cobra.Command, args []string, req httpd.HookRequest) error {
	i, req, err := hookOf(c, args, req)
	if err != nil {
		return err
	}
	cleared, err := i.ForgetHooks(c.Context(), req)
	if err != nil {
		return err
	}
	a.hookPaths(cleared, "%s: %s forgotten\n", "dead letter", "there are no dead letters")
	return nil
}

// hookOf is the running sersync that arguments name, with the hook that they name.
func hookOf(c *cobra.Command, args []string, req httpd.HookRequest) (instance, httpd.HookRequest, error) {
	var config []string
	if len(args) > 0 {
		req.Hook, config = args[0], args[1:]
	}
	i, err := only(c, config)
	return i, req, err
}

func (a *app) hookPaths(done httpd.HooksPaths, format, what, none string) {
	for _, s := range done.Sources {
		fmt.Fprintf(a.out, format, quote(s.Source), plural(s.Count, what))
	}
	if len(done.Sources) == 0 {
		fmt.Fprintln(a.out, none)
	}
}

// hooks says which hooks a person may have to act on, and counts the others.
func (p *printer) hooks(all []replicate.HookStatus) {
	well, told := 0, uint64(0)
	for _, h := range all {
		ills := p.ills(h)
		if len(ills) == 0 {
			well++
			told += h.Told
			continue
		}
		about := "hook " + h.Name
		if h.Target != "" {
			about += " of " + quote(h.Target)
		}
		p.line("  %s: %s", p.paint(about, bold), strings.Join(ills, "; "))
		if h.Dead+h.Retrying > 0 {
			p.line("    hint: mend what the error says; try it: sersync hooks test %s; then: sersync hooks retry %s", h.Name, h.Name)
		}
	}
	if well > 0 {
		p.line("  %s well, told %d times", p.paint(plural(well, "hook"), bold), told)
	}
}

// ills are what is not well with a hook.
func (p *printer) ills(h replicate.HookStatus) (ills []string) {
	if h.Dead > 0 {
		ills = append(ills, p.paint(plural(h.Dead, "dead letter"), red))
	}
	if h.Retrying > 0 {
		ills = append(ills, plural(h.Retrying, "path")+" told in vain so far")
	}
	if e := h.LastError; e != nil && (len(ills) > 0 || h.ToldAt == nil || e.Last.After(*h.ToldAt)) {
		ills = append(ills, fmt.Sprintf("failed %s since %s: %s", times(e.Count), clock(e.Since), p.paint(e.Text, red)))
	}
	timeout := time.Duration(h.Timeout * float64(time.Second))
	if c := h.Calling; c != nil && p.now.Sub(*c) > timeout {
		ills = append(ills, fmt.Sprintf("a call takes %s, and may take %s", age(p.now.Sub(*c)), age(timeout)))
	}
	if h.Folded > 0 {
		ills = append(ills, fmt.Sprintf("the queue was full %s: directories stand for what is below them", times(h.Folded)))
	}
	return ills
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
