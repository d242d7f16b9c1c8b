package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sersync/internal/config"
	"sersync/internal/convert"
)

// convertMax bounds the size of a file to convert, in bytes.
const convertMax = 1 << 20

func (a *app) convert() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "convert FILE [-o OUT]",
		Short: "print the YAML for a confxml.xml or a configuration of lsyncd",
		Long: `convert reads a confxml.xml of sersync 2.5.4 or an lsyncd.conf.lua, whichever it is, and prints a configuration in YAML that
means the same. What cannot be carried over, or means something else, is said with its line, and stands as a comment in the YAML.
The Lua is run without access to files, programs or the network; only the files that excludeFrom names are read.`,
		Example: `  sersync convert /etc/lsyncd/lsyncd.conf.lua -o sersync.yaml
  sersync check sersync.yaml`,
		Args: between(1, 1, "the configuration to convert"),
		RunE: func(_ *cobra.Command, args []string) error { return a.convertFile(args[0], out) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write the YAML into this new file instead of printing it")
	return c
}

func (a *app) convertFile(file, out string) error {
	data, err := readBounded(file)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	result, err := convert.Convert(file, data, dir)
	for _, n := range result.Notes {
		// The error names what is wrong itself.
		if n.Severity != config.Error {
			fmt.Fprintln(a.err, n)
		}
	}
	if err != nil {
		return err
	}
	if out == "" {
		_, err = a.out.Write(result.YAML)
		return err
	}
	return writeNew(out, result.YAML)
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &config.SyntaxError{Place: config.Place{File: file}, Err: fmt.Errorf("cannot read the configuration: %w", err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, convertMax+1))
	if err == nil && len(data) > convertMax {
		err = fmt.Errorf("it is larger than %d MiB", convertMax>>20)
	}
	if err != nil {
		return nil, &config.SyntaxError{Place: config.Place{File: file}, Err: err}
	}
	return data, nil
}

// writeNew writes a file that is not there yet: what is there may be in use, or a link to something else.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fail(exitError, fmt.Sprintf("%s exists", quote(name)), "remove it, or name another file behind -o")
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration %q: %w", name, err)
	}
	return nil
}
