package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// binarySize builds a trivial program with the store and one without. It works in a directory of this module, whose
// go.mod has the versions.
func binarySize(ctx context.Context, base string, c contestant, add func(row, cell string)) error {
	without, err := build(ctx, base, "", "")
	if err != nil {
		return err
	}
	with, err := build(ctx, base, c.imports, c.trivial)
	if err != nil {
		return err
	}
	add("added to a binary", mega(with-without))
	return nil
}

func build(ctx context.Context, base, imports, body string) (int64, error) {
	dir, err := os.MkdirTemp(".", "trivial-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	text := "package main\n\nimport (\"fmt\"; \"os\"; " + imports + ")\n\nfunc main() {\n\tfmt.Println(os.Args)" + body + "\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o600); err != nil {
		return 0, err
	}
	binary := filepath.Join(base, "trivial")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./"+dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
