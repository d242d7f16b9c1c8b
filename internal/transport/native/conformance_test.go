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
