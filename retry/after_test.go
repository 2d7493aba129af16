package retry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/penstock/penstock/retry"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// ParseRetryAfter reads every documented form, and nothing else.
func TestParseRetryAfter_ReadsEachForm(t *testing.T) {
	const day = retry.MaxRetryAfter
	none := time.Duration(-1)
	for _, c := range []struct {
		ms, value, date string
		want            time.Duration
	}{
		{value: "0", want: 0},
		{value: "20", want: 20 * time.Second},
		{value: " 1.5 ", want: 1500 * time.Millisecond},
		{value: ".5", want: 500 * time.Millisecond},
		{ms: "250", value: "1", want: 250 * time.Millisecond},
		{ms: "0.5", want: 500 * time.Microsecond},
		{ms: "soon", value: "3", want: 3 * time.Second},
		{ms: "-1", value: "3", want: 3 * time.Second},
		{value: "Fri, 20 Nov 2026 12:00:30 GMT", want: 30 * time.Second},
		{value: "Friday, 20-Nov-26 12:00:30 GMT", want: 30 * time.Second},
		{value: "Fri Nov 20 12:00:30 2026", want: 30 * time.Second},
		{value: "Fri, 20 Nov 2026 11:00:00 GMT", want: 0},
		{value: "Fri, 20 Nov 2026 12:00:30 GMT", date: "Fri, 20 Nov 2026 12:00:20 GMT", want: 10 * time.Second},
		{value: "Fri, 20 Nov 2026 12:00:30 GMT", date: "yesterday", want: 30 * time.Second},
		{value: "Fri, 31 Dec 9999 23:59:59 GMT", want: day},
		{value: "86401", want: day},
		{value: "9999999999", want: day},
		{value: "99999999999999999999999999", want: day},
		{ms: "99999999999999999999", want: day},
		{value: "1795176010", want: 10 * time.Second},    // an epoch
		{value: "1795176000.25", want: 250e6},            // with a fraction
		{value: "1795176010000", want: 10 * time.Second}, // in milliseconds
		{ms: "1795176010000", want: 10 * time.Second},
		{value: "1795175990", want: 0}, // past
		{value: "", want: none},
		{value: "-5", want: none},
		{value: "soon", want: none},
		{value: "NaN", want: none},
		{value: "Inf", want: none},
		{value: "1e9", want: none},
		{value: "0x10", want: none},
		{value: "1.2.3", want: none},
		{value: ".", want: none},
		{value: "10, 20", want: none},
	} {
		h := http.Header{}
		for name, v := range map[string]string{"Retry-After-Ms": c.ms, "Retry-After": c.value, "Date": c.date} {
			if v != "" {
				h.Set(name, v)
			}
		}
		got, ok := retry.ParseRetryAfter(h, noon)
		if want := c.want; ok != (want >= 0) || ok && got != want {
			t.Errorf("ms %q, value %q, date %q: got %v and %v, want %v", c.ms, c.value, c.date, got, ok, want)
		}
	}
}

// Every result is in [0, MaxRetryAfter].
func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"20", "1.5", "-1", "9999999999", "1795176010", "1795176010000", "Fri, 20 Nov 2026 12:00:30 GMT", "inf"} {
		f.Add(s, s, s, noon.Unix())
	}
	f.Fuzz(func(t *testing.T, ms, value, date string, now int64) {
		h := http.Header{"Retry-After-Ms": {ms}, "Retry-After": {value}, "Date": {date}}
		d, ok := retry.ParseRetryAfter(h, time.Unix(now, 0))
		if d < 0 || d > retry.MaxRetryAfter || !ok && d != 0 {
			t.Errorf("ms %q, value %q, date %q at %d: got %v and %v, want a wait in range", ms, value, date, now, d, ok)
		}
	})
}

// ShouldRetry reads true and false, in any case, and nothing else.
func TestShouldRetry_ReadsTheHeader(t *testing.T) {
	for value, want := range map[string][2]bool{"true": {true, true}, " False": {false, true}, "": {}, "perhaps": {}} {
		should, present := retry.ShouldRetry(http.Header{"X-Should-Retry": {value}})
		if got := [2]bool{should, present}; got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}
