// Package otel exports what Pools do as OpenTelemetry traces and metrics. It uses the API alone: the program chooses the SDK
// and its exporters.
//
//	telemetry, err := otel.New(otel.Config{TracerProvider: traces, MeterProvider: meters})
//	...
//	cfg.Hooks = caller.JoinHooks(cfg.Hooks, telemetry.Hooks(cfg.Name))
//
// A call is a span, and each attempt is a child of it. Waits, changes of key and cooldowns are events. The attempt's span is in
// the context that Do's function and the base RoundTripper get, so a propagator below can inject it into the request.
package otel
