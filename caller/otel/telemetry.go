package otel

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstock/penstock/caller"
)

// Config says where telemetry goes.
type Config struct {
	// TracerProvider makes the tracer. Defaults to none: no traces.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the meter. Defaults to none: no metrics.
	MeterProvider metric.MeterProvider
}

// Telemetry exports what Pools do. It is safe for concurrent use.
type Telemetry struct {
	tracer   trace.Tracer
	requests metric.Float64Histogram
	tokens   metric.Int64Histogram
	calls    metric.Float64Histogram
	waits    metric.Float64Histogram

	mu    sync.Mutex
	pools map[string][]*caller.Pool
}

// buckets are the boundaries of durations, in seconds: those of the HTTP conventions, and longer ones.
var buckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300, 600}

// tokenBuckets are the boundaries that the GenAI conventions advise.
var tokenBuckets = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}

// New returns Telemetry. Its error is the meter's.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracenoop.NewTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = metricnoop.NewMeterProvider()
	}
	t := &Telemetry{tracer: cfg.TracerProvider.Tracer(scope), pools: map[string][]*caller.Pool{}}
	m := cfg.MeterProvider.Meter(scope)
	var errs []error
	seconds := func(name, help string) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	t.requests = seconds(metricRequestDuration, "Duration of HTTP client requests.")
	t.calls = seconds(metricCallDuration, "Time from a call's beginning to its result, waits included.")
	t.waits = seconds(metricAdmissionWait, "Time from the request for admission to the send time.")
	var err error
	t.tokens, err = m.Int64Histogram(metricTokenUsage, metric.WithUnit("{token}"), metric.WithDescription("Number of input and output tokens used."),
		metric.WithExplicitBucketBoundaries(tokenBuckets...))
	errs = append(errs, err, t.levels(m))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// levels registers the gauges that are read from Pool.Stats.
func (t *Telemetry) levels(m metric.Meter) error {
	waiting, err := m.Int64ObservableGauge(metricCallsWaiting, metric.WithUnit("{call}"), metric.WithDescription("Calls that wait for admission."))
	if err != nil {
		return err
	}
	inFlight, err := m.Int64ObservableGauge(metricCallsInFlight, metric.WithUnit("{call}"), metric.WithDescription("Calls that are admitted and not over."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		for name, pools := range t.pools {
			var w, f int64
			for _, p := range pools {
				s := p.Stats()
				w, f = w+int64(s.CallsWaiting), f+int64(s.CallsInFlight)
			}
			pool := metric.WithAttributes(attribute.String(attrPool, name))
			o.ObserveInt64(waiting, w, pool)
			o.ObserveInt64(inFlight, f, pool)
		}
		return nil
	}, waiting, inFlight)
	return err
}

// Hooks returns hooks for the Pools of a name. With Hooks.UsageRead set, the Pool reads the usage of every response that its
// profile knows how to read.
func (t *Telemetry) Hooks(name string) caller.Hooks {
	p := &pool{t: t, attr: attribute.String(attrPool, name)}
	return caller.Hooks{
		Opened: func(_ context.Context, c *caller.Pool) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.pools[name] = append(t.pools[name], c)
		},
		Closed: func(_ context.Context, c *caller.Pool) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.pools[name] = slices.DeleteFunc(t.pools[name], func(its *caller.Pool) bool { return its == c })
		},
		CallStarted: p.callStarted, CallEnded: p.callEnded, Refused: p.refused, Admitted: p.admitted,
		AttemptStarted: p.attemptStarted, Attempted: p.attempted, Released: p.released, UsageRead: p.usageRead,
		CooledDown: p.cooledDown, Disabled: p.disabled,
	}
}
