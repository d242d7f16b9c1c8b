package local

import (
	"log/slog"
	"testing"

	"sersync/internal/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		dir := t.TempDir()
		return transporttest.Target{Transport: New(Options{Dir: dir, Program: "test", Log: slog.New(slog.DiscardHandler)}), Dir: dir}
	})
}
