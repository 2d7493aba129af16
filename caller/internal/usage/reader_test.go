package usage

import (
	"reflect"
	"testing"
)

// A Reader finds the documents of JSON bodies and of streams, and sees their end.
func TestReader_FindsDocuments(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		contentType, text string
		want              []string
		complete          bool
	}{
		"JSON":             {"application/json; charset=utf-8", `{"a":1}`, []string{`{"a":1}`}, true},
		"JSON's suffix":    {"application/problem+json", `{"a":1}`, []string{`{"a":1}`}, true},
		"JSON, cut":        {"application/json", `{"a":1`, nil, false},
		"list":             {"application/json", `[{"a":1},{"b":2}]`, []string{`{"a":1}`, `{"b":2}`}, true},
		"list, cut":        {"application/json", `[{"a":1},{"b"`, []string{`{"a":1}`}, false},
		"stream":           {"text/event-stream", "data: {\"a\":1}\n\ndata: [DONE]\n\n", []string{`{"a":1}`}, true},
		"stream, cut":      {"text/event-stream", "data: {\"a\":1}\n\n", []string{`{"a":1}`}, false},
		"document in two":  {"text/event-stream", "data: {\ndata: \"a\":1}\n\n", []string{`{ "a":1}`}, false},
		"unfinished event": {"text/event-stream", "data: {\"a\n\ndata: {\"b\":1}\n\n", []string{`{"b":1}`}, false},
	} {
		var found []string
		r := NewReader(test.contentType, func(d []byte) { found = append(found, string(d)) })
		if r == nil {
			t.Errorf("%s: got no Reader for %s, want one", name, test.contentType)
			continue
		}
		for i := range test.text {
			r.Write([]byte(test.text[i : i+1]))
		}
		if !reflect.DeepEqual(found, test.want) || r.Complete() != test.complete {
			t.Errorf("%s: got %q, complete %v, want %q, %v", name, found, r.Complete(), test.want, test.complete)
		}
	}
}

// Bodies that are neither JSON nor a stream of events have no Reader.
func TestNewReader_ReturnsNilForOtherContent(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"", "text/plain", "application/octet-stream", "image/png", ";", "json"} {
		if NewReader(contentType, nil) != nil {
			t.Errorf("%q: got a Reader, want nil", contentType)
		}
	}
}
