package httpd

import (
	"strings"
	"testing"
)

func (b *backend) SetLogLevel(level string) string {
	was := b.level
	b.level = level
	return was
}

func TestLogLevelChangesToAKnownOneOnly(t *testing.T) {
	b := newBackend()
	b.level = "info"
	socket, _ := serve(t, b, requestTime)
	client := NewClient(socket)
	got, err := client.LogLevel(t.Context(), LogLevelRequest{Level: "debug"})
	if want := (LogLevelChanged{Level: "debug", Was: "info"}); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	_, err = client.LogLevel(t.Context(), LogLevelRequest{Level: "loud"})
	if kindOf(err) != BadRequest || !strings.Contains(err.(*Error).Hint(), "debug, info") || b.level != "debug" {
		t.Errorf("error %v, level %s", err, b.level)
	}
}
