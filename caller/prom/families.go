package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "penstock"

// Names of labels that can't be left out.
const (
	labelPool    Label = "pool"
	labelMetric  Label = "metric"
	labelOutcome Label = "outcome"
	labelReason  Label = "reason"
)

// seconds are the classic buckets of durations: from 1 ms to 10 minutes.
var seconds = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// calls are the classic buckets of numbers of calls.
var calls = []float64{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// families are the metrics of events.
type families struct {
	calls, refusals, attempts, retries     counter
	callDuration, wait, waitReason         histogram
	attemptDuration, attemptHeld           histogram
	estimated, used, partial               counter
	cooldowns, disabled, circuits          counter
	keyErrors, leasesLost                  counter
	scriptCalls, scriptErrors, losses, put counter
	scriptDuration, scriptBatch            histogram

	all []prometheus.Collector
}

func newFamilies(cfg Config) *families {
	f := &families{}
	c := func(name, help string, labels ...Label) counter {
		l := cfg.labelling(append([]Label{labelPool}, labels...)...)
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, l.strings())
		f.all = append(f.all, vec)
		return counter{l, vec}
	}
	h := func(name, help string, buckets []float64, labels ...Label) histogram {
		l := cfg.labelling(append([]Label{labelPool}, labels...)...)
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, l.strings())
		f.all = append(f.all, vec)
		return histogram{l, vec}
	}
	f.ofCalls(c, h)
	f.ofPool(c, h)
	return f
}

type (
	newCounter   func(name, help string, labels ...Label) counter
	newHistogram func(name, help string, buckets []float64, labels ...Label) histogram
)

func (f *families) ofCalls(c newCounter, h newHistogram) {
	f.calls = c("calls_total", "Calls that ended, by outcome: success, refused, or that of the last attempt.",
		LabelModel, LabelPriority, labelOutcome)
	f.callDuration = h("call_duration_seconds", "Time from a call's beginning to its result, waits included.", seconds,
		LabelModel, LabelPriority, labelOutcome)
	f.refusals = c("call_refusals_total", "Calls that got no key, by reason.", LabelPriority, labelReason)
	f.wait = h("admission_wait_seconds", "Time from the request for admission to the send time.", seconds, LabelPriority)
	f.waitReason = h("admission_wait_reason_seconds",
		"The part of the wait for one thing, of calls that waited for it: rate, permit, cooldown or redis.",
		seconds, LabelPriority, labelReason)
	f.attempts = c("attempts_total", "Attempts that ended, by outcome.", LabelAccount, LabelKey, LabelModel, labelOutcome)
	f.retries = c("retries_total", "Attempts that another attempt followed.", LabelAccount, LabelModel)
	f.attemptDuration = h("attempt_duration_seconds",
		"Time from sending an attempt to its result; of an HTTP request, to the end of the response's headers (time to first byte).",
		seconds, LabelAccount, LabelModel, labelOutcome)
	f.attemptHeld = h("attempt_held_seconds", "Time from sending an attempt to the end of its response's body.", seconds,
		LabelAccount, LabelModel)
	units := []Label{LabelAccount, LabelKey, LabelModel, labelMetric}
	f.estimated = c("estimated_units_total", "Units that calls were charged before they were sent, of calls whose use is known.", units...)
	f.used = c("used_units_total", "Units that responses reported as used.", units...)
	f.partial = c("used_partial_units_total",
		"The part of used units that is from responses that were cut short, and in part estimated.", units...)
}

func (f *families) ofPool(c newCounter, h newHistogram) {
	f.cooldowns = c("cooldowns_total", "Cooldowns that this process started. An empty key is the whole account.", LabelAccount, LabelKey)
	f.disabled = c("disabled_total",
		"Keys and accounts that this process disabled. An empty key is the whole account.", LabelAccount, LabelKey)
	f.circuits = c("circuits_opened_total", "Circuits that failures opened in this process.", LabelKey)
	f.keyErrors = c("key_loads_failed_total", "Times that WatchKeys could not load or use the keys.")
	f.leasesLost = c("leases_lost_total", "Calls in flight whose permits were lost.")
	f.scriptCalls = c("redis_script_calls_total", "Script calls: round trips to Redis.")
	f.scriptErrors = c("redis_script_errors_total", "Script calls that failed.")
	f.scriptDuration = h("redis_script_duration_seconds", "Time from sending a script call to its reply.", seconds)
	f.scriptBatch = h("redis_script_batch_calls", "Waiting calls that a script call asked for.", calls)
	f.losses = c("redis_state_losses_total", "Times that Redis was found to have lost writes.")
	f.put = c("redis_writes_restored_total", "Lost writes that this process put back.")
}
