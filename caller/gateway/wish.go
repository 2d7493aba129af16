package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/caller"
)

// Headers of requests and answers.
const (
	headerPrefix      = "X-Penstock-"
	headerPriority    = headerPrefix + "Priority"
	headerAffinity    = headerPrefix + "Affinity"
	headerTimeout     = headerPrefix + "Timeout"
	headerWait        = headerPrefix + "Wait"
	headerIdempotency = headerPrefix + "Idempotency"
	headerKey         = headerPrefix + "Key"
	headerWaited      = headerPrefix + "Waited"
	headerAttempts    = headerPrefix + "Attempts"
)

const (
	// maxAffinity is the longest value of X-Penstock-Affinity, in bytes.
	maxAffinity = 512
	// minWait is the shortest bound of a wait: the pool needs some time to ask Redis.
	minWait = 50 * time.Millisecond
	// maxTime is the longest time that a header can give.
	maxTime = 366 * 24 * time.Hour
)

// wishes are the options that a request's headers ask for.
func wishes(h http.Header) (caller.Options, *refusal) {
	var o caller.Options
	switch v := h.Get(headerPriority); strings.ToLower(v) {
	case "", "normal":
	case "low":
		o.Priority = caller.PriorityLow
	case "high":
		o.Priority = caller.PriorityHigh
	default:
		return o, badHeader(headerPriority, v, "low, normal or high")
	}
	switch v := h.Get(headerIdempotency); strings.ToLower(v) {
	case "":
	case "yes", "true", "1":
		o.Idempotency = caller.IdempotencyYes
	case "no", "false", "0":
		o.Idempotency = caller.IdempotencyNo
	default:
		return o, badHeader(headerIdempotency, v, "yes or no")
	}
	o.Affinity = h.Get(headerAffinity)
	if len(o.Affinity) > maxAffinity || !utf8.ValidString(o.Affinity) {
		return o, badHeader(headerAffinity, "", fmt.Sprintf("at most %d bytes of UTF-8", maxAffinity))
	}
	for name, to := range map[string]*time.Duration{headerTimeout: &o.Timeout, headerWait: &o.MaxWait} {
		v := h.Get(name)
		if v == "" {
			continue
		}
		d, ok := parseTime(v)
		if !ok || name == headerTimeout && d == 0 {
			return o, badHeader(name, v, "a time such as 30s or 1m30s, or a number of seconds")
		}
		*to = d
		if name == headerWait {
			*to = max(d, minWait)
		}
	}
	return o, nil
}

// parseTime reads a time as Go writes it, or a number of seconds.
func parseTime(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	return d, err == nil && d >= 0 && d <= maxTime
}

func badHeader(name, value, want string) *refusal {
	if len(value) > 64 || !utf8.ValidString(value) {
		value = "…"
	}
	return badRequest("the header " + name + " is " + strconv.Quote(value) + ": use " + want)
}

// credentials are the headers in which client libraries send their key. None of them reaches the provider.
var credentials = []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "Cookie"}

// cleanHead takes what is for the gateway alone off a request for the provider.
func cleanHead(h http.Header) {
	for _, name := range credentials {
		h.Del(name)
	}
	for name := range h {
		if strings.HasPrefix(name, headerPrefix) {
			delete(h, name)
		}
	}
	// The gateway can't take a key out of a compressed answer.
	h.Set("Accept-Encoding", "identity")
}
