package rsyncd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/receive"
)

// Users and groups of a machine that no test can make on this one.
const (
	passwdOfTest = "root:x:0:0:root:/root:/bin/sh\njoe:x:1001:100:::\nsusan:x:1002:200:::\nsam:x:1003:200:::\n# ann:x:1004:200:::\n"
	groupOfTest  = "root:x:0:\nusers:x:100:\nrsync:x:200:joe\nguest:x:300:sam,stranger\nweb-a:x:400:susan\nweb-b:x:401:susan,joe\n"
)

func groupRules(t *testing.T, users, secrets string) (receive.Module, []string) {
	t.Helper()
	dir, file := files(t)
	write(t, file, secrets)
	read := func(name string) ([]byte, error) {
		switch name {
		case "/etc/passwd":
			return []byte(passwdOfTest), nil
		case "/etc/group":
			return []byte(groupOfTest), nil
		}
		return readFile(name)
	}
	text := "[m]\npath = " + dir + "\nauth users = " + users + "\nsecrets file = " + file + "\n"
	c, problems, err := parse("rsyncd.conf", []byte(text), Certificates{}, read)
	if err != nil {
		t.Fatalf("%v %v", err, problems)
	}
	return c.Modules[0], texts(problems, dir)
}

// The example of rsyncd.conf(5).
func TestRulesOfGroupsHoldWhoIsInThem(t *testing.T) {
	m, problems := groupRules(t, "joe:deny @guest:deny admin:rw @rsync:ro susan joe sam", "admin:a\nsusan:b\njoe:c\nsam:d\n@rsync:e\n")
	if len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	if got := m.Rules[1]; got.Access != receive.Denied || !cmp.Equal(got.Members, map[string]string{"sam": "guest"}) {
		t.Errorf("@guest:deny is %+v; a name that is no user of the machine is in no group", got)
	}
	want := map[string]string{"joe": "rsync", "susan": "rsync", "sam": "rsync"}
	if got := m.Rules[3]; got.Access != receive.ReadOnly || !cmp.Equal(got.Members, want) {
		t.Errorf("@rsync:ro is %+v, want %v: those whose own group it is are in it too", got, want)
	}
	if m.GroupSecrets["rsync"] != "e" || len(m.Secrets) != 4 {
		t.Errorf("secrets of users %d, of groups %d", len(m.Secrets), len(m.GroupSecrets))
	}
}

func TestPatternOfGroupsTakesTheFirstOfAUser(t *testing.T) {
	m, _ := groupRules(t, "@web-*", "@web-a:x\n")
	if want := map[string]string{"susan": "web-a", "joe": "web-b"}; !cmp.Equal(m.Rules[0].Members, want) {
		t.Errorf("members %v, want %v", m.Rules[0].Members, want)
	}
}

func TestGroupWithoutAPasswordIsNamed(t *testing.T) {
	_, problems := groupRules(t, "@guest, susan", "susan:x\n@users:y\n")
	if len(problems) != 1 || !strings.Contains(problems[0], `nobody of the group has a line in DIR/secrets, so nobody can log in for it: "@guest"`) {
		t.Errorf("problems %v", problems)
	}
}
