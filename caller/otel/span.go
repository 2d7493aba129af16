package otel

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock/penstock/caller"
)

// callSpan is the span of a call.
type callSpan struct {
	trace.Span
	mu   sync.Mutex
	key  string         // of the last attempt
	open []*attemptSpan // attempts without a result
}

// attemptSpan is the span of an attempt. It ends with the attempt's result and the end of its response's body, whichever is
// later. A short response may end before its usage is read, which the span then lacks and the metric has. If Do's function panics, there is no result, and the call's end stands for it.
type attemptSpan struct {
	trace.Span
	mu             sync.Mutex
	judged, closed bool
}

func (s *attemptSpan) mark(judged, closed bool) {
	s.mu.Lock()
	s.judged, s.closed = s.judged || judged, s.closed || closed
	over := s.judged && s.closed
	s.mu.Unlock()
	if over {
		s.End() // a second End has no effect
	}
}

type (
	callKey    struct{}
	attemptKey struct{}
)

func callFrom(ctx context.Context) *callSpan {
	s, _ := ctx.Value(callKey{}).(*callSpan)
	return s
}

func attemptFrom(ctx context.Context) *attemptSpan {
	s, _ := ctx.Value(attemptKey{}).(*attemptSpan)
	return s
}

// start begins an attempt. It adds an event if the key changed.
func (s *callSpan) start(a *attemptSpan, key string) {
	s.mu.Lock()
	before := s.key
	s.key = key
	s.open = append(s.open, a)
	s.mu.Unlock()
	if before != "" && before != key {
		s.AddEvent(eventKeyChanged, trace.WithAttributes(attribute.String(attrKey, key)))
	}
}

// end ends the call, and the attempts that panicked.
func (s *callSpan) end() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for _, a := range open {
		a.mark(true, false)
	}
	s.End()
}

// fail sets the status of a failed span. The description is a word, because errors can quote a provider.
func fail(s trace.Span, what string) {
	s.SetStatus(codes.Error, what)
	s.SetAttributes(attribute.String(attrErrorType, what))
}

func word(o caller.Outcome) string { return strings.ReplaceAll(o.String(), " ", "_") }

func priority(p caller.Priority) string {
	switch {
	case p > caller.PriorityNormal:
		return "high"
	case p < caller.PriorityNormal:
		return "low"
	}
	return "normal"
}
