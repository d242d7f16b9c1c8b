// Man writes the man pages of sersync and its commands into a directory, made of what the commands say of themselves.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"sersync/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./etc/man DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	root := cli.Commands()
	asItStands(root)
	header := &doc.GenManHeader{Section: "1", Source: "sersync " + cli.Version, Manual: "sersync"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	return nil
}

// asItStands keeps the lines of the overview: it is a table, and a man page would fill it.
func asItStands(root *cobra.Command) {
	root.DisableAutoGenTag = true
	root.Long = "    " + strings.ReplaceAll(strings.TrimRight(root.Long, "\n"), "\n", "\n    ")
}
