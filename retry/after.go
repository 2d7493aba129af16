package retry

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that ParseRetryAfter returns; longer ones are cut to it. So a broken header can't put
// a key out of service for more than a day, and a true one of a month costs one try a day.
const MaxRetryAfter = 24 * time.Hour

// ParseRetryAfter returns how long the header of an answer that came at now asks to wait, in [0, MaxRetryAfter], and
// whether it asks at all. It reads, in this order,
//
//   - Retry-After-Ms: milliseconds, with or without a fraction;
//   - Retry-After (RFC 9110, section 10.2.3): seconds, with or without a fraction, or an HTTP date in any of its three
//     forms.
//
// A number that can only be a time since 1970, in seconds or milliseconds, is read as that. Times are compared with the
// answer's own Date, if it has one, so that the two clocks needn't agree; one that has passed is a wait of 0. What is
// negative, not a number or not understood counts as absent.
func ParseRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if d, ok := parseDelay(h.Get("Retry-After-Ms"), time.Millisecond, now); ok {
		return d, true
	}
	return ParseDelay(h.Get("Retry-After"), now)
}

// ParseDelay reads one value of the forms that ParseRetryAfter reads in Retry-After, for other headers that have them.
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

// ShouldRetry returns what the header X-Should-Retry says about trying again, and whether it says anything. Providers
// send it to overrule what their clients would make of the status.
func ShouldRetry(h http.Header) (should, said bool) {
	switch strings.ToLower(strings.TrimSpace(h.Get("X-Should-Retry"))) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// parseDelay reads a number of units, or of seconds or milliseconds since 1970.
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

// parseNumber reads a decimal number that isn't negative. strconv alone would take "inf", "0x1p8" and "1e9" too.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil && !math.IsInf(n, 0)
}

// epoch reads n as seconds or milliseconds since 1970 if that gives a time within a year of now. No delay is that
// large: it would be one of thirty years.
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

// until is the time from now to at, in [0, MaxRetryAfter].
func until(at, now time.Time) time.Duration {
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
