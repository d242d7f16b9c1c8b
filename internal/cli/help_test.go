package cli

import (
	"strings"
	"testing"
)

// needExamples are the commands whose arguments are not told by their names.
var needExamples = []string{"sync", "convert", "watch"}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range Commands().Commands() {
		if c.Hidden {
			continue
		}
		if c.Short == "" {
			t.Errorf("%s has no short text", c.Name())
		}
		if !strings.Contains(help, "\n  "+c.Name()+" ") {
			t.Errorf("the help text does not list %s", c.Name())
		}
	}
	for _, name := range needExamples {
		c, _, err := Commands().Find([]string{name})
		if err != nil || !strings.Contains(c.Example, "sersync "+name+" ") {
			t.Errorf("%s has no example (%v)", name, err)
		}
	}
}
