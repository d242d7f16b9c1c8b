package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/httpd"
)

// instance is a sersync that runs.
type instance struct {
	*httpd.Client
	status httpd.Status
}

// name is what a person calls the instance.
func (i instance) name() string {
	if i.status.Config != "" {
		return i.status.Config
	}
	for _, s := range i.status.Sources {
		return "sync " + s.Path
	}
	return fmt.Sprintf("process %d", i.status.PID)
}

// running are the instances that run: that of one configuration, or all of this user.
func running(ctx context.Context, args []string) ([]instance, error) {
	sockets, err := daemon.Sockets(config.RunDir())
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		all, err := ask(ctx, sockets)
		if err == nil && len(all) == 0 {
			err = notRunning("no sersync of this user is running")
		}
		return all, err
	}
	// Its own socket first, as far as the file can be read: it may have changed since the start.
	file := args[0]
	if cfg, _, err := config.Load(file); err == nil {
		sockets = append([]string{cfg.Socket}, sockets...)
	}
	all, err := ask(ctx, sockets)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if sameFile(i.status.Config, file) {
			return []instance{i}, nil
		}
	}
	return nil, notRunning(fmt.Sprintf("no sersync is running with %q", file))
}

// ask asks who listens on the sockets, and leaves out those where nobody does.
func ask(ctx context.Context, sockets []string) ([]instance, error) {
	var all []instance
	for _, socket := range sockets {
		client := httpd.NewClient(socket)
		status, err := client.Status(ctx)
		var e *httpd.Error
		if errors.As(err, &e) && (e.Kind == httpd.NotRunning || e.Kind == httpd.Stopping) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, instance{client, status})
	}
	return all, nil
}

func notRunning(text string) error {
	return fail(exitNotRunning, text, "start it with: sersync run CONFIG -d")
}

func sameFile(running, asked string) bool {
	if running == "" {
		return false
	}
	one, err1 := os.Stat(running)
	two, err2 := os.Stat(asked)
	if err1 == nil && err2 == nil {
		return os.SameFile(one, two)
	}
	abs, err := filepath.Abs(asked)
	return err == nil && abs == running
}
