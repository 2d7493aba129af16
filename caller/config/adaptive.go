package config

import (
	"math"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/concurrency"
)

// adaptiveDraft is an adaptive limit while it is read.
type adaptiveDraft struct {
	concurrency.Adaptive

	least, initial int64
}

func (r *reader) adaptiveFields(d *adaptiveDraft) map[string]field {
	return map[string]field{
		"gradient": optional(r.boolean(&d.Gradient), "Follows latency as well as overloads. Default: false."),
		"min":      optional(r.count(&d.least, math.MaxInt32, ""), "Calls in flight that are always allowed. Default: 1."),
		"initial":  optional(r.count(&d.initial, math.MaxInt32, ""), "Calls in flight to begin with, from min to concurrency. Default: 20."),
		"backoff":  optional(r.number(&d.Backoff, 0.01, 0.99), "The factor by which an overload lowers the limit, 0.01 to 0.99. Default: 0.9."),
		"window": optional(r.duration(&d.Window, 10*time.Millisecond, time.Hour),
			"The time between a process's reports of its calls' results, 10ms to session_ttl. Default: 250ms."),
		"tolerance": optional(r.number(&d.Tolerance, 1, 1000),
			"With gradient, the factor by which latency may exceed its baseline, 1 to 1000. Default: 1.5."),
		"smoothing": optional(r.number(&d.Smoothing, 0.001, 1),
			"With gradient, the share of a change that takes effect at once, 0.001 to 1. Default: 0.2."),
		"queue": optional(r.number(&d.Queue, 0.001, 1e6), "With gradient, calls in flight above what latency suggests. Default: 4."),
	}
}

func (r *reader) adaptive(dst **concurrency.Adaptive) kind {
	read := func(n ast.Node, path string) {
		var d adaptiveDraft
		r.mapping(n, path, r.adaptiveFields(&d))
		d.Min, d.Initial = int(d.least), int(d.initial)
		*dst = &d.Adaptive
	}
	return kind{read, mappingJSON(r.adaptiveFields(new(adaptiveDraft)))}
}

// checkAdaptive reports an adaptive limit that contradicts concurrency.
func (r *reader) checkAdaptive(n ast.Node, p *Pool) {
	a := p.Caller.Adaptive
	if a == nil {
		return
	}
	most := p.Caller.Concurrency
	switch {
	case most == 0:
		r.problemf(n, "adaptive", "needs concurrency, the highest number of calls in flight per account; set it")
	case a.Min > most || a.Initial > most || a.Initial > 0 && a.Initial < a.Min:
		r.problemf(n, "adaptive", "must have min <= initial <= concurrency")
	}
}
