package main

import (
	"testing"
	"time"
)

func TestFindAccountingPrefersCpuacct(t *testing.T) {
	const two = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0\n"
	const one = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
	for _, test := range []struct{ name, mounts, root, usage string }{
		{"none", "tmpfs /tmp tmpfs rw 0 0\n", "", ""},
		{"v1", one, "/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage"},
		{"v2", two, "/sys/fs/cgroup/unified", "cpu.stat"},
		{"both", two + one, "/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, usage := findAccounting(test.mounts)
			if root != test.root || usage != test.usage {
				t.Errorf("found %q %q, want %q %q", root, usage, test.root, test.usage)
			}
		})
	}
}

func TestParseUsageKnowsBothUnits(t *testing.T) {
	for usage, text := range map[string]string{
		"cpuacct.usage": "1500000000\n",
		"cpu.stat":      "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
	} {
		got, err := parseUsage(usage, text)
		if err != nil || got != 1500*time.Millisecond {
			t.Errorf("%s: %v, %v; want 1.5s", usage, got, err)
		}
	}
	if _, err := parseUsage("cpu.stat", "nothing"); err == nil {
		t.Error("no error for a file without the time")
	}
}

func TestParseStatCountsReapedChildren(t *testing.T) {
	line := []byte("42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7\n")
	pid, parent, cpu, err := parseStat(line)
	if err != nil || pid != 42 || parent != 7 || cpu != time.Second {
		t.Errorf("parsed %d %d %v %v, want 42 7 1s", pid, parent, cpu, err)
	}
	if _, _, _, err := parseStat([]byte("42 (cut) S 7")); err == nil {
		t.Error("no error for a line that is cut")
	}
}
