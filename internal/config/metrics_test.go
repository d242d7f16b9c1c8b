package config

import "testing"

func TestWhereMetricsAreServed(t *testing.T) {
	const rest = "sources: [{path: /data, targets: [{url: \"rsync://h/m\"}]}]\n"
	for text, want := range map[string]string{
		rest: "",
		"metrics: {listen: \"127.0.0.1:9273\"}\n" + rest: "127.0.0.1:9273",
		"metrics: {listen: \":9273\"}\n" + rest:          ":9273",
		"metrics: {listen: \"[::1]:9273\"}\n" + rest:     "[::1]:9273",
		`<head><host hostip="localhost" port="8008"/><sersync><localpath watch="/data"><remote ip="h" name="m"/></localpath></sersync></head>`: "",
		`<head><metrics listen="localhost:9273"/><sersync><localpath watch="/data"><remote ip="h" name="m"/></localpath></sersync></head>`:     "localhost:9273",
	} {
		c, _ := parseGood(t, "conf", text)
		if c.Metrics.Listen != want {
			t.Errorf("%s: listens on %q, want %q", text, c.Metrics.Listen, want)
		}
	}
}
