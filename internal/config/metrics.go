package config

import (
	"errors"
	"net"
	"strconv"
)

func (y *yamlReader) metricsFields(m *Metrics) []field {
	return []field{{"listen", y.checked(m.listenOn)}}
}

// metrics is an element of our own; 2.5.4 has nothing of the kind.
func (x *xmlReader) metrics(e *element) {
	value, ok := e.get("listen")
	switch {
	case e == nil:
	case !ok:
		x.fail(e.line, "<metrics> has no listen", "", `write listen="127.0.0.1:9273"`)
	default:
		if err := x.config.Metrics.listenOn(value); err != nil {
			x.fail(e.line, "listen of <metrics> cannot be used:", value, err.Error())
		}
	}
}

// listenOn takes an address to listen on. A name of a host is for the resolver to judge, at the start.
func (m *Metrics) listenOn(address string) error {
	_, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return errors.New(`write HOST:PORT, as "127.0.0.1:9273", or ":9273" for all addresses of this machine`)
	}
	m.Listen = address
	return nil
}
