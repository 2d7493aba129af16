package otel

import (
	"context"
	"net"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock/penstock/caller"
)

// pool has the hooks of the Pools of one name.
type pool struct {
	t    *Telemetry
	attr attribute.KeyValue
}

func (p *pool) callStarted(ctx context.Context, c caller.CallStart) context.Context {
	ctx, span := p.t.tracer.Start(ctx, spanCall)
	if !span.IsRecording() {
		return ctx
	}
	span.SetAttributes(p.attr, attribute.String(attrModel, c.Model), attribute.String(attrPriority, priority(c.Priority)))
	return context.WithValue(ctx, callKey{}, &callSpan{Span: span})
}

func (p *pool) callEnded(ctx context.Context, c caller.CallEnd) {
	outcome := word(c.Outcome)
	switch {
	case c.Refused != caller.NotRefused:
		outcome = "refused"
	case c.Err != nil && c.Outcome == caller.Success:
		outcome = word(caller.Canceled)
	}
	p.t.calls.Record(ctx, c.Latency.Seconds(), metric.WithAttributes(
		p.attr, attribute.String(attrModel, c.Model), attribute.String(attrPriority, priority(c.Priority)), attribute.String(attrOutcome, outcome),
	))
	s := callFrom(ctx)
	if s == nil {
		return
	}
	s.SetAttributes(attribute.String(attrOutcome, outcome), attribute.Int(attrAttempts, c.Attempts))
	if c.Err != nil {
		fail(s, outcome)
	}
	s.end()
}

func (p *pool) refused(ctx context.Context, r caller.Refusal) {
	if s := callFrom(ctx); s != nil {
		s.AddEvent(eventRefused, trace.WithAttributes(append(waits(&r.WaitedFor),
			attribute.String(attrReason, r.Reason.String()), attribute.String(attrMetric, string(r.Metric)))...))
	}
}

func (p *pool) admitted(ctx context.Context, a caller.Admission) {
	p.t.waits.Record(ctx, a.Waited.Seconds(), metric.WithAttributes(p.attr, attribute.String(attrPriority, priority(a.Priority))))
	if s := callFrom(ctx); s != nil {
		s.AddEvent(eventAdmitted, trace.WithAttributes(append(waits(&a.WaitedFor), attribute.String(attrKey, a.Key))...))
	}
}

// waits returns the parts of a wait, in seconds.
func waits(w *caller.Waits) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Float64(attrWaitedRate, w.Rate.Seconds()), attribute.Float64(attrWaitedPermit, w.Permit.Seconds()),
		attribute.Float64(attrWaitedCooldown, w.Cooldown.Seconds()), attribute.Float64(attrWaitedRedis, w.Redis.Seconds()),
	}
}

func (p *pool) attemptStarted(ctx context.Context, a caller.AttemptStart) context.Context {
	call := callFrom(ctx)
	if call == nil {
		return ctx
	}
	ctx, span := p.t.tracer.Start(ctx, spanAttempt, trace.WithSpanKind(trace.SpanKindClient))
	s := &attemptSpan{Span: span}
	span.SetAttributes(p.attr, attribute.String(attrAccount, a.Account), attribute.String(attrKey, a.Key), attribute.String(attrModel, a.Model))
	if a.Number > 1 {
		span.SetAttributes(attribute.Int(attrResendCount, a.Number-1))
	}
	call.start(s, a.Key)
	return context.WithValue(ctx, attemptKey{}, s)
}

func (p *pool) attempted(ctx context.Context, a caller.Attempt) {
	p.request(ctx, &a)
	s := attemptFrom(ctx)
	if s == nil {
		return
	}
	s.SetAttributes(attribute.String(attrOutcome, word(a.Verdict.Outcome)))
	if a.Method != "" {
		s.SetAttributes(server(&a)...)
	}
	if a.Status > 0 {
		s.SetAttributes(attribute.Int(attrStatusCode, a.Status))
	}
	if a.Verdict.Outcome != caller.Success {
		fail(s, word(a.Verdict.Outcome))
	}
	s.mark(true, false)
}

// request records the duration of an HTTP request.
func (p *pool) request(ctx context.Context, a *caller.Attempt) {
	if a.Method == "" {
		return
	}
	attrs := append(server(a), p.attr)
	if a.Status > 0 {
		attrs = append(attrs, attribute.Int(attrStatusCode, a.Status))
	}
	switch {
	case a.Status >= 400: // a status is the error's type
		attrs = append(attrs, attribute.String(attrErrorType, strconv.Itoa(a.Status)))
	case a.Verdict.Outcome != caller.Success:
		attrs = append(attrs, attribute.String(attrErrorType, word(a.Verdict.Outcome)))
	}
	p.t.requests.Record(ctx, a.Latency.Seconds(), metric.WithAttributes(attrs...))
}

// server returns the attributes of a request's method and server.
func server(a *caller.Attempt) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		host, port = a.Host, "443"
	}
	n, _ := strconv.Atoi(port) // the URL was used
	return []attribute.KeyValue{
		attribute.String(attrMethod, a.Method), attribute.String(attrServer, host), attribute.Int(attrServerPort, n),
	}
}

func (p *pool) released(ctx context.Context, _ caller.Release) {
	if s := attemptFrom(ctx); s != nil {
		s.mark(false, true)
	}
}

func (p *pool) usageRead(ctx context.Context, u caller.Usage) {
	s := attemptFrom(ctx)
	for _, row := range [...]struct {
		metric     caller.Metric
		attr, kind string
	}{{caller.InputTokens, attrInputTokens, tokenInput}, {caller.OutputTokens, attrOutputTokens, tokenOutput}} {
		n, ok := u.Actual[row.metric]
		if !ok {
			continue
		}
		p.t.tokens.Record(ctx, n, metric.WithAttributes(p.attr, attribute.String(attrModel, u.Model), attribute.String(attrTokenType, row.kind)))
		if s != nil {
			s.SetAttributes(attribute.Int64(row.attr, n))
		}
	}
}

func (p *pool) cooledDown(ctx context.Context, b caller.Block) { event(ctx, eventCooldown, &b) }
func (p *pool) disabled(ctx context.Context, b caller.Block)   { event(ctx, eventKeyDisabled, &b) }

// event adds an event about a key to the span of its attempt, or of its call.
func event(ctx context.Context, name string, b *caller.Block) {
	trace.SpanFromContext(ctx).AddEvent(name, trace.WithAttributes(
		attribute.String(attrAccount, b.Account), attribute.String(attrKey, b.Key), attribute.Float64(attrFor, b.For.Seconds()),
	))
}
