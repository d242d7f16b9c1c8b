package apply

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func parentDir(d string) string { return filepath.Dir(d) }

// asChild runs the test again, in a process of its own, with the directory in APPLY_DIR.
func asChild(t *testing.T, dir string, attr *syscall.SysProcAttr) {
	t.Helper()
	out, err := childOf(t, dir, attr).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func childOf(t *testing.T, dir string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe") // its own may lie where the other user cannot go
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.CreateTemp("/tmp", "apply*.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(program.Name()) })
	if _, err := program.Write(self); err != nil {
		t.Fatal(err)
	}
	if err := program.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	program.Close()
	cmd := exec.Command(program.Name(), "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "APPLY_DIR="+dir)
	cmd.SysProcAttr = attr
	return cmd
}
