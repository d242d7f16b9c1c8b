package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"sersync/internal/config"
	"sersync/internal/transport"
)

const (
	// asked is how many targets are asked at one time.
	asked = 16
	// patience is how long a target may take to answer, and again for a probe.
	patience = 30 * time.Second
)

// targets asks all targets, in the order of the configuration. One that hangs delays none of the others but when there are more than asked.
func (e *examination) targets(ctx context.Context) []Part {
	var parts []*Part
	var asking sync.WaitGroup
	slots := make(chan struct{}, asked)
	for _, s := range e.Config.Sources {
		for _, t := range s.Targets {
			p := &Part{Kind: "target", Name: t.URL()}
			parts = append(parts, p)
			asking.Go(func() {
				select {
				case slots <- struct{}{}:
					defer func() { <-slots }()
					e.target(ctx, p, t)
				case <-ctx.Done():
					p.add(Warning, "target", "take more time", "not asked: %v", ctx.Err())
				}
			})
		}
	}
	asking.Wait()
	all := make([]Part, len(parts))
	for i, p := range parts {
		all[i] = *p
	}
	return all
}

func (e *examination) target(ctx context.Context, p *Part, t config.Target) {
	there, err := e.Open(t)
	if err != nil {
		p.add(Problem, "target", "mend it in the configuration", "cannot be used: %v", err)
		return
	}
	defer there.Close()
	if !answers(ctx, p, t, there) || !e.Probe {
		return
	}
	// It may be a part of its own source.
	if slices.ContainsFunc(e.Problems, func(problem config.Problem) bool {
		return problem.Severity == config.Error && problem.Place == t.Place
	}) {
		p.add(Note, "write", "solve it first", "not probed, because of its problem in the configuration")
		return
	}
	prober, ok := there.(transport.Prober)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, err := prober.Probe(ctx)
	probed(p, result, err)
}

// answers asks whether a target can be reached and lets us in.
func answers(ctx context.Context, p *Part, t config.Target, there transport.Transport) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// ssh may know a host by a name of its own, and a way to it.
	if (t.Kind == config.Daemon || t.Kind == config.Native) && !reachable(ctx, p, t) {
		return false
	}
	facts, err := there.Check(ctx)
	if err != nil {
		refused(p, "login", err)
		return false
	}
	p.ok("login", "answers and lets us in: %s", versions(facts))
	for _, limit := range facts.Limits {
		p.add(Warning, "limits", "", "cannot store: %s", limit)
	}
	return true
}

func versions(f transport.Facts) string {
	if f.There == "" {
		return "its version is not known"
	}
	return "version " + f.Here + " here, " + f.There + " there"
}

// refused says why a target cannot be used, as the transport classified it.
func refused(p *Part, check string, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		p.add(Problem, check, remedyOf(&transport.Error{Kind: transport.Away}), "no answer within %v", patience)
		return
	}
	p.add(Problem, check, remedyOf(err), "%v", err)
}

// classOf is the kind and the hint of an error.
func classOf(err error) (transport.Kind, string) {
	var e *transport.Error
	if errors.As(err, &e) {
		return e.Kind, e.Hint
	}
	return transport.Broken, ""
}

// reachable resolves the name of a daemon's host and connects.
func reachable(ctx context.Context, p *Part, t config.Target) bool {
	ctx, cancel := context.WithTimeout(ctx, t.ConnectTimeout)
	defer cancel()
	start := time.Now()
	addresses, err := net.DefaultResolver.LookupHost(ctx, t.Host)
	if err != nil {
		p.add(Problem, "resolve", "correct the name, or mend DNS or /etc/hosts", "the name %s leads to no address: %v", quote(t.Host), err)
		return false
	}
	if net.ParseIP(t.Host) == nil {
		p.ok("resolve", "%s is %s (%v)", quote(t.Host), fmt.Sprint(addresses), time.Since(start).Round(time.Millisecond))
	}
	start = time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address())
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", t.ConnectTimeout)
		}
		p.add(Problem, "connect", remedyOf(&transport.Error{Kind: transport.Away}), "no connection to %s: %v", quote(t.Address()), err)
		return false
	}
	conn.Close()
	p.ok("connect", "connected to %s in %v", quote(t.Address()), time.Since(start).Round(10*time.Microsecond))
	return true
}
