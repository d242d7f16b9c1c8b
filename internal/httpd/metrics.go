package httpd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// scrapesMax bounds the scrapes that are answered at one time, scrapersMax the connections: whoever reaches the
	// port must not use up our descriptors.
	scrapesMax, scrapersMax = 4, 32
	// keepTime is how long a connection may be idle: Prometheus scrapes every minute by default.
	keepTime = 2 * time.Minute
)

// Metrics answers Prometheus, at /metrics, and whoever only wants to know that we live, at /healthz. It has no
// secret to tell, and nothing can be changed by it.
type Metrics struct {
	listener net.Listener
	handler  http.Handler
	log      *slog.Logger
}

// ListenMetrics listens on address, HOST:PORT.
func ListenMetrics(address string, status func() Status, log *slog.Logger) (*Metrics, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &Error{
			Kind: Failed, Text: fmt.Sprintf("listen for metrics on %q: %v", address, err),
			Advice: fmt.Sprintf("see who has the port with: ss -ltnp 'sport = :%s'; or name another address at metrics, or none", port(address)),
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(status), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: scrapesMax,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		// Who cannot say what he does is not well.
		status()
		_, _ = io.WriteString(w, "ok\n")
	})
	return &Metrics{listener: netutil.LimitListener(l, scrapersMax), handler: http.MaxBytesHandler(mux, bodyMax), log: log}, nil
}

func port(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return port
}

// Run answers until ctx ends, and closes the address.
func (m *Metrics) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:        m.handler,
		ReadTimeout:    requestTime,
		WriteTimeout:   answerTime,
		IdleTimeout:    keepTime,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
	return serveUntil(ctx, server, m.listener)
}

// Close closes the address of a Metrics that was never run.
func (m *Metrics) Close() error { return m.listener.Close() }
