package otel_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/otel"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// kit is a pool whose telemetry a test reads.
type kit struct {
	pool   *caller.Pool
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	telemetry, err := otel.New(otel.Config{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(k.spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(k.reader)),
	})
	if err != nil {
		t.Fatal(err)
	}
	profile, err := provider.ByName("openai")
	if err != nil {
		t.Fatal(err)
	}
	k.pool, err = caller.New(redistest.Client(t), caller.Config{
		Name: t.Name(), Profile: profile, Concurrency: 5, Hooks: telemetry.Hooks(t.Name()),
		Keys: []caller.Key{{ID: "k1", Secret: caller.NewSecret("sk-canary-1")}, {ID: "k2", Secret: caller.NewSecret("sk-canary-2")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.pool.Close(context.WithoutCancel(t.Context())) })
	return k
}

// metrics returns the instruments that have data, by name.
func (k *kit) metrics(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := k.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]metricdata.Aggregation{}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			out[m.Name] = m.Data
		}
	}
	return out
}

func attr(s sdktrace.ReadOnlySpan, name string) attribute.Value {
	for _, a := range s.Attributes() {
		if string(a.Key) == name {
			return a.Value
		}
	}
	return attribute.Value{}
}

func events(s sdktrace.ReadOnlySpan) map[string]int {
	all := map[string]int{}
	for _, e := range s.Events() {
		all[e.Name]++
	}
	return all
}

type propagating struct {
	seen chan trace.SpanContext
}

func (p propagating) RoundTrip(r *http.Request) (*http.Response, error) {
	p.seen <- trace.SpanContextFromContext(r.Context())
	return http.DefaultTransport.RoundTrip(r)
}

// A call is a span under the user's, each attempt is a child of it, and the attempt's span is in the outgoing request's
// context. Waits are events.
func TestTraces_OfACall(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if served.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"code":"rate_limit_exceeded"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`)
	}))
	defer server.Close()
	ctx := testkit.Context(t)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/chat/completions",
		bytes.NewReader([]byte(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	seen := make(chan trace.SpanContext, 9)
	res, err := k.pool.Transport(propagating{seen}, caller.TransportConfig{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	testkit.Eventually(t, "three spans end", func() bool { return len(k.spans.Ended()) == 3 })
	var call sdktrace.ReadOnlySpan
	var attempts []sdktrace.ReadOnlySpan
	for _, s := range k.spans.Ended() {
		if s.Name() == "penstock.call" {
			call = s
		} else {
			attempts = append(attempts, s)
		}
	}
	for i, a := range attempts {
		if a.Parent().SpanID() != call.SpanContext().SpanID() || a.SpanKind() != trace.SpanKindClient {
			t.Errorf("attempt %d: got parent %v and kind %v, want the call and client", i+1, a.Parent(), a.SpanKind())
		}
		if got := <-seen; got.SpanID() != a.SpanContext().SpanID() {
			t.Errorf("attempt %d: the request's context has span %v, want %v", i+1, got.SpanID(), a.SpanContext().SpanID())
		}
	}
	if n := attr(attempts[1], "http.request.resend_count").AsInt64(); n != 1 {
		t.Errorf("resend count of the second attempt: got %d, want 1", n)
	}
	if got := attr(attempts[0], "error.type").AsString(); got != "throttled" {
		t.Errorf("error.type of the first attempt: got %q, want throttled", got)
	}
	if got := events(call); got["penstock.admitted"] != 2 || got["penstock.key_changed"] != 1 {
		t.Errorf("events of the call: got %v, want two admissions and a change of key", got)
	}
	h, ok := k.metrics(t)["http.client.request.duration"].(metricdata.Histogram[float64])
	if !ok || len(h.DataPoints) != 2 {
		t.Fatalf("http.client.request.duration: got %+v, want a point for each status", h)
	}
	if tokens, ok := k.metrics(t)["gen_ai.client.token.usage"].(metricdata.Histogram[int64]); !ok || len(tokens.DataPoints) != 2 {
		t.Errorf("gen_ai.client.token.usage: got %+v, want input and output", tokens)
	}
	for _, name := range []string{"http.request.method", "server.address", "server.port", "http.response.status_code"} {
		if !h.DataPoints[0].Attributes.HasValue(attribute.Key(name)) {
			t.Errorf("http.client.request.duration has no %s", name)
		}
	}
}

// The spans of a call whose function panics end, too, and a refused call says why.
func TestTraces_OfCallsThatFail(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	ctx := testkit.Context(t)
	func() {
		defer func() { _ = recover() }()
		_, _ = caller.Do(ctx, k.pool, nil, func(context.Context, *caller.Grant) (int, error) { panic("a test") })
	}()
	if got := len(k.spans.Ended()); got != 2 {
		t.Errorf("spans that ended after a panic: got %d, want 2", got)
	}
	if err := k.pool.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(ctx, k.pool, nil, func(context.Context, *caller.Grant) (int, error) { return 0, nil }); err == nil {
		t.Error("a call of a closed pool succeeded")
	}
	all := k.spans.Ended()
	last := all[len(all)-1]
	if attr(last, "penstock.outcome").AsString() != "refused" || events(last)["penstock.refused"] != 1 {
		t.Errorf("the refused call: got %v, %v", last.Attributes(), events(last))
	}
}
