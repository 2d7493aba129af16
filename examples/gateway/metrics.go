package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/caller/prom"
)

// metrics are what /metrics exports: those of the pools, and what clients did in this process.
type metrics struct {
	registry *prometheus.Registry
	pools    *prom.Metrics

	requests, tokens, dollars *prometheus.CounterVec
}

func newMetrics() (*metrics, error) {
	pools, err := prom.New(prom.Config{})
	if err != nil {
		return nil, err
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "penstock", Subsystem: "client", Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(), pools: pools,
		requests: counter("requests_total", "Requests of a client that have ended. refused: the reason, empty for none.", "client", "refused"),
		tokens:   counter("tokens_total", "Tokens that a client's requests took, as providers report them.", "client", "direction"),
		dollars:  counter("dollars_total", "What a client's requests cost, by the prices of the configuration.", "client"),
	}
	for _, c := range []prometheus.Collector{pools, m.requests, m.tokens, m.dollars} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ended counts a request. Labels are bounded: clients stand in the configuration, and reasons are the gateway's words.
func (m *metrics) ended(e *gateway.Event) {
	m.requests.WithLabelValues(e.Client, e.Refused).Inc()
	if e.InputTokens+e.OutputTokens > 0 {
		m.tokens.WithLabelValues(e.Client, "input").Add(float64(e.InputTokens))
		m.tokens.WithLabelValues(e.Client, "output").Add(float64(e.OutputTokens))
	}
	if e.Microdollars > 0 {
		m.dollars.WithLabelValues(e.Client).Add(float64(e.Microdollars) / 1e6)
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
