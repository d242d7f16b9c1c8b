package cli

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver ARGS... starts "sersync receive" and sets RECEIVER_PORT; receiver stop kills it.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("scene").(*scene)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: receiver ARGS... | receiver stop")
	}
	if args[0] == "stop" {
		s.stopReceiver()
		return
	}
	var program string
	for _, dir := range strings.Split(ts.Getenv("PATH"), ":") {
		if _, err := os.Stat(dir + "/sersync"); err == nil {
			program = dir + "/sersync"
			break
		}
	}
	cmd := exec.Command(program, append([]string{"receive"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(ts.MkAbs("receiver.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s.receiver = cmd
	ts.Defer(s.stopReceiver)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		ts.Fatalf("start receiver: %v: %s", err, ts.ReadFile("receiver.log"))
	}
	_, port, err := net.SplitHostPort(strings.TrimSpace(strings.TrimPrefix(line, "receiving on ")))
	ts.Check(err)
	ts.Setenv("RECEIVER_PORT", port)
}

func (s *scene) stopReceiver() {
	if s.receiver == nil {
		return
	}
	_ = s.receiver.Process.Signal(syscall.SIGKILL) // it may have ended
	_ = s.receiver.Wait()
	s.receiver = nil
}
