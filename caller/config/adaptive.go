package config

import (
	"math"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/concurrency"
)

// An adaptiveDraft is an adaptive limit while it is read.
type adaptiveDraft struct {
	concurrency.Adaptive

	least, initial int64
}

func (r *reader) adaptiveFields(d *adaptiveDraft) map[string]field {
	return map[string]field{
		"gradient": optional(r.yes(&d.Gradient), "Follow latency, too, not only what was refused. Default: false."),
		"min":      optional(r.count(&d.least, math.MaxInt32, ""), "Calls in flight that are always allowed. Default: 1."),
		"initial":  optional(r.count(&d.initial, math.MaxInt32, ""), "Calls in flight to begin with, from min to concurrency. Default: 20."),
		"backoff":  optional(r.number(&d.Backoff, 0.01, 0.99), "Factor by which an overload lowers the limit. Default: 0.9."),
		"window": optional(r.duration(&d.Window, 10*time.Millisecond, time.Hour),
			"How often a process tells how its calls went, up to ttl. Default: 250ms."),
		"tolerance": optional(r.number(&d.Tolerance, 1, 1000),
			"With gradient, how far latency may be above its baseline, as a factor. Default: 1.5."),
		"smoothing": optional(r.number(&d.Smoothing, 0.001, 1), "With gradient, the part of a change that takes effect at once. Default: 0.2."),
		"queue":     optional(r.number(&d.Queue, 0.001, 1e6), "With gradient, calls more than latency tells that are tried. Default: 4."),
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

// unfit complains of an adaptive limit that doesn't go with concurrency.
func (r *reader) unfit(n ast.Node, p *Pool) {
	a := p.Caller.Adaptive
	if a == nil {
		return
	}
	most := p.Caller.Concurrency
	switch {
	case most == 0:
		r.problemf(n, "adaptive", "needs concurrency, the most calls in flight that an account may ever have; set it")
	case a.Min > most || a.Initial > most || a.Initial > 0 && a.Initial < a.Min:
		r.problemf(n, "adaptive", "must have min <= initial <= concurrency")
	}
}
