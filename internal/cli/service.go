package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// service makes sersync a service of systemd.
func (a *app) service() *cobra.Command {
	var name, image string
	c := &cobra.Command{
		Use:   "service",
		Short: "start a configuration at boot, by systemd",
		Args:  between(1, 1, "install, uninstall or print"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usage(fmt.Sprintf("there is no command %q", "service "+args[0]))
		},
	}
	c.PersistentFlags().StringVar(&name, "name", "sersync", "the name of the service")
	install := &cobra.Command{
		Use:   "install CONFIG",
		Short: "write a unit that starts this program with a configuration",
		Args:  between(1, 1, "the configuration file"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.installService(c.Context(), units{image}, name, args[0])
		},
	}
	uninstall := &cobra.Command{
		Use:   "uninstall",
		Short: "stop the service and remove the unit that install wrote",
		Args:  between(0, 0, "none; --name names the service"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.uninstallService(c.Context(), units{image}, name)
		},
	}
	for _, c := range []*cobra.Command{install, uninstall} {
		c.Flags().StringVar(&image, "root", "", "a directory that holds an image of a machine, in the place of this machine")
	}
	c.AddCommand(install, uninstall, &cobra.Command{
		Use:   "print CONFIG",
		Short: "print the unit that install would write",
		Args:  between(1, 1, "the configuration file"),
		RunE: func(_ *cobra.Command, args []string) error {
			u, err := newUnit(name, args[0])
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, u.text())
			return nil
		},
	})
	return c
}

func (a *app) installService(ctx context.Context, where units, name, file string) error {
	u, err := newUnit(name, file)
	if err != nil {
		return err
	}
	if err := where.usable(); err != nil {
		return err
	}
	again, err := where.write(u)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "wrote %s\n", quote(filepath.Join(where.dir(), name+".service")))
	if where.image == "" {
		if err := systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	next := "start it now and at boot: systemctl enable --now "
	if again {
		next = "take over what changed: systemctl restart "
	}
	fmt.Fprintf(a.out, "next, %s%s\nsee it with: systemctl status %s; sersync status\n", next, name, name)
	return nil
}

func (a *app) uninstallService(ctx context.Context, where units, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := where.usable(); err != nil {
		return err
	}
	disable := []string{"disable", "--now", name}
	if where.image != "" {
		disable = []string{"--root", where.image, "disable", name}
	}
	if err := where.remove(name, func() error { return systemctl(ctx, disable...) }); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "removed %s; configurations, logs and state stay\n", quote(filepath.Join(where.dir(), name+".service")))
	if where.image != "" {
		return nil
	}
	return systemctl(ctx, "daemon-reload")
}

// usable refuses where services cannot be made. Of an image only its owner knows.
func (u units) usable() error {
	if u.image != "" {
		return nil
	}
	if os.Geteuid() != 0 {
		return fail(exitError, "only root can make services of this machine", "use sudo, or write a unit of your own from: sersync service print CONFIG")
	}
	// sd_booted(3)
	if info, err := os.Lstat("/run/systemd/system"); err != nil || info.Mode().Type() != fs.ModeDir {
		return fail(exitError, "this machine was not booted by systemd",
			"start it from what boots the machine, as /etc/rc.local: sersync run --fill -d CONFIG; stop it with: kill \"$(cat /run/sersync/NAME.pid)\"")
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
