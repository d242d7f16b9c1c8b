package native

import (
	"testing"

	"sersync/internal/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		r := newRig(t)
		return transporttest.Target{Transport: r.transport(Options{}), Dir: r.dir}
	})
}

func TestNamesOfOneFile(t *testing.T) {
	transporttest.RunLinks(t, func(t *testing.T) transporttest.Target {
		r := newRig(t)
		return transporttest.Target{Transport: r.transport(Options{}), Dir: r.dir}
	})
}

// A trash changes nothing for what is outside of it.
func TestTargetWithATrashConforms(t *testing.T) {
	start := func(t *testing.T) transporttest.Target {
		r := newRig(t)
		return transporttest.Target{Transport: r.transport(Options{Trash: true}), Dir: r.dir}
	}
	transporttest.Run(t, start)
	transporttest.RunTrash(t, start)
}
