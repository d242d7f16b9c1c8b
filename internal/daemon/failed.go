package daemon

import (
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

func (a api) Held(req httpd.PathsRequest) ([]replicate.Paths, error) {
	return a.paths(req, func(s *replicate.Source) []replicate.Paths { return s.Held(req.Target, req.Max) })
}

func (a api) Failed(req httpd.PathsRequest) ([]replicate.Paths, error) {
	return a.paths(req, func(s *replicate.Source) []replicate.Paths { return s.Failed(req.Target, req.Max) })
}

func (a api) Retry(req httpd.PathsRequest) ([]replicate.Paths, error) {
	return a.paths(req, func(s *replicate.Source) []replicate.Paths { return s.RetryFailed(req.Target) })
}

func (a api) Clear(req httpd.PathsRequest) ([]replicate.Paths, error) {
	return a.paths(req, func(s *replicate.Source) []replicate.Paths { return s.ForgetFailed(req.Target) })
}

// paths asks the sources that a request names, when it names any that are there.
func (a api) paths(req httpd.PathsRequest, ask func(*replicate.Source) []replicate.Paths) ([]replicate.Paths, error) {
	var sources, targets []string
	var asked []*running
	known := false
	for _, r := range a.d.running() {
		sources = append(sources, r.config.Name)
		if req.Source != "" && req.Source != r.config.Name {
			continue
		}
		asked = append(asked, r)
		known = known || req.Target == "" || r.has(req.Target)
		for _, t := range r.config.Targets {
			targets = append(targets, t.URL())
		}
	}
	switch {
	case req.Source != "" && len(asked) == 0:
		return nil, httpd.UnknownName("source", req.Source, sources)
	case !known:
		return nil, httpd.UnknownName("target", req.Target, targets)
	}
	all := []replicate.Paths{}
	for _, r := range asked {
		all = append(all, ask(r.source)...)
	}
	return all, nil
}
