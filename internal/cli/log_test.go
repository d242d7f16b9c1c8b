package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
)

func TestLogIsForTheJournalWhenTheJournalReadsIt(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	stream := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	if !toJournal(file, stream) {
		t.Errorf("%s is not recognised", stream)
	}
	for _, other := range []string{"", "1:2", stream + "0", "x"} {
		if toJournal(file, other) {
			t.Errorf("%q is taken for %s", other, stream)
		}
	}
	if toJournal(new(bytes.Buffer), stream) {
		t.Error("a buffer is taken for the journal")
	}
}

func TestLinesForTheJournalHaveTheirLevelAndNoTime(t *testing.T) {
	for format, want := range map[string]string{
		"text": "<7>msg=d source=www\n<6>msg=i source=www\n<4>msg=w source=www g.time=1\n<3>msg=\"a\\nb\" source=www\n",
		"json": `<7>{"msg":"d","source":"www"}` + "\n" + `<6>{"msg":"i","source":"www"}` + "\n" +
			`<4>{"msg":"w","source":"www","g":{"time":1}}` + "\n" + `<3>{"msg":"a\nb","source":"www"}` + "\n",
	} {
		var out bytes.Buffer
		log := newJournalLog(&out, config.Log{Format: format}, slog.LevelDebug).With("source", "www")
		log.Debug("d")
		log.Info("i")
		log.WithGroup("g").Warn("w", "time", 1)
		log.Error("a\nb")
		if out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, out.String(), want)
		}
	}
}
