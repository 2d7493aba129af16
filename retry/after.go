package retry

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that ParseRetryAfter returns; longer waits are cut to it. So a wrong header takes a key out
// of service for a day at most. A correct one of a month costs one attempt a day.
const MaxRetryAfter = 24 * time.Hour

// ParseRetryAfter returns the wait that the header of a response received at now asks for, in [0, MaxRetryAfter], and whether
// it asks for one. It reads, in this order,
//
//   - Retry-After-Ms: milliseconds, with or without a fraction;
//   - Retry-After (RFC 9110, section 10.2.3): seconds, with or without a fraction, or an HTTP date in any of its three
//     forms.
//
// A number that can only be a time since 1970, in seconds or milliseconds, is read as a time. If the response has a Date,
// times are compared with it instead of now, so that the clocks needn't agree. A time that has passed is a wait of 0. A
// value that is negative, not a number or malformed counts as absent.
func ParseRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if d, ok := parseDelay(h.Get("Retry-After-Ms"), time.Millisecond, now); ok {
		return d, true
	}
	return ParseDelay(h.Get("Retry-After"), now)
}

// ParseDelay parses a value of another header in the forms that ParseRetryAfter reads from Retry-After.
func ParseDelay(value string, now time.Time) (time.Duration, bool) {
	if d, ok := parseDelay(value, time.Second, now); ok {
		return d, true
	}
	at, err := http.ParseTime(strings.TrimSpace(value))
	if err != nil {
		return 0, false
	}
	return until(at, now), true
}

// ShouldRetry returns the value of the header X-Should-Retry, and whether there is one. With it providers override what
// clients conclude from the status.
func ShouldRetry(h http.Header) (should, present bool) {
	switch strings.ToLower(strings.TrimSpace(h.Get("X-Should-Retry"))) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// parseDelay parses a number of units, or a time in seconds or milliseconds since 1970.
func parseDelay(s string, unit time.Duration, now time.Time) (time.Duration, bool) {
	n, ok := parseNumber(strings.TrimSpace(s))
	if !ok {
		return 0, false
	}
	if at, ok := epoch(n, now); ok {
		return until(at, now), true
	}
	return capped(n*float64(unit), MaxRetryAfter), true
}

// parseNumber parses a decimal number that isn't negative. strconv alone accepts "inf", "0x1p8" and "1e9", too.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsInf(n, 0)
}

// epoch interprets n as seconds or milliseconds since 1970 if that is a time within a year of now. As a delay, such a number
// would be decades.
func epoch(n float64, now time.Time) (time.Time, bool) {
	const year = 366 * 24 * time.Hour
	for _, perSecond := range []float64{1, 1e3} {
		seconds := n / perSecond
		if math.Abs(seconds-float64(now.Unix())) > year.Seconds() {
			continue
		}
		whole, fraction := math.Modf(seconds)
		return time.Unix(int64(whole), int64(fraction*1e9)), seconds > 5e8
	}
	return time.Time{}, false
}

// until returns the time from now to at, in [0, MaxRetryAfter].
func until(at, now time.Time) time.Duration {
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
