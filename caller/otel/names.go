package otel

// Names of instruments and attributes. Those of HTTP are stable; those of GenAI are in development
// (https://opentelemetry.io/docs/specs/semconv/gen-ai/), and stand here alone.
const (
	scope = "github.com/penstock/penstock/caller/otel"

	spanCall    = "penstock.call"
	spanAttempt = "penstock.attempt"

	eventAdmitted    = "penstock.admitted"
	eventRefused     = "penstock.refused"
	eventKeyChanged  = "penstock.key_changed"
	eventCooldown    = "penstock.cooldown"
	eventKeyDisabled = "penstock.key_disabled"

	metricRequestDuration = "http.client.request.duration"
	metricTokenUsage      = "gen_ai.client.token.usage"
	metricCallDuration    = "penstock.call.duration"
	metricAdmissionWait   = "penstock.admission.wait"
	metricCallsWaiting    = "penstock.calls.waiting"
	metricCallsInFlight   = "penstock.calls.in_flight"

	attrPool           = "penstock.pool"
	attrAccount        = "penstock.account"
	attrKey            = "penstock.key.id"
	attrPriority       = "penstock.priority"
	attrOutcome        = "penstock.outcome"
	attrReason         = "penstock.reason"
	attrMetric         = "penstock.metric"
	attrAttempts       = "penstock.attempts"
	attrWaitedRate     = "penstock.waited.rate"
	attrWaitedPermit   = "penstock.waited.permit"
	attrWaitedCooldown = "penstock.waited.cooldown"
	attrWaitedRedis    = "penstock.waited.redis"
	attrFor            = "penstock.for"

	attrResendCount = "http.request.resend_count"
	attrStatusCode  = "http.response.status_code"
	attrErrorType   = "error.type"
	attrMethod      = "http.request.method"
	attrServer      = "server.address"
	attrServerPort  = "server.port"

	attrModel        = "gen_ai.request.model"
	attrInputTokens  = "gen_ai.usage.input_tokens"
	attrOutputTokens = "gen_ai.usage.output_tokens"
	attrTokenType    = "gen_ai.token.type"
	tokenInput       = "input"
	tokenOutput      = "output"
)
