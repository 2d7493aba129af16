package caller

import (
	"math"
	"net/http"
	"net/url"
	"testing"
)

// Parts of a path that look like IDs are the same endpoint, other parts are not.
func TestEndpoint_LeavesOutIDs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/chat/completions":        "h/v1/chat/completions",
		"/v1beta/models/gemini-2.5:x": "h/v1beta/models/*",
		"/v1/batches/batch_abc123":    "h/v1/batches/*",
		"/repos/o/r/issues/42":        "h/repos/o/r/issues/*",
		"":                            "h",
	} {
		if got := endpoint(&http.Request{URL: &url.URL{Host: "h", Path: path}}); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// Values of Hedge outside of their ranges are refused.
func TestHedge_ChecksItsValues(t *testing.T) {
	t.Parallel()
	for h, wrong := range map[Hedge]bool{
		{}: false, {After: 1}: false, {After: 1, Percentile: 0.95}: false, {After: 1, Percentile: 0.5}: false,
		{After: -1}: true, {Percentile: 0.95}: true, {After: 1, Percentile: 1}: true, {After: 1, Percentile: 0.4}: true,
		{After: 1, Percentile: -0.95}: true, {After: 1, Percentile: math.NaN()}: true, {After: 1, Percentile: 95}: true,
	} {
		if err := h.check(); (err != nil) != wrong {
			t.Errorf("%+v: got the error %v, want one: %v", h, err, wrong)
		}
	}
}
