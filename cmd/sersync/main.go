// Command sersync replicates directory trees from one server to many, in real time.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sersync/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets what is in flight come to its end, a second one ends the process at once. One
	// that comes within a second is the same: timeout(1) sends each twice.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
