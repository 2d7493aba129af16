package usage

import (
	"reflect"
	"strings"
	"testing"
)

// Events finds each event without its comments, with every line ending, and however the stream is cut into pieces. It tells
// content from comments and blank lines.
func TestEvents_FindsEvents(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("x", maxEvent) + "\n\n"
	for _, test := range []struct {
		text    string
		want    []string
		content bool
		open    bool
	}{
		{"event: a\ndata: 1\n\ndata: 2\n\n", []string{"event: a\ndata: 1\n\n", "data: 2\n\n"}, true, false},
		{"event: a\r\ndata: 1\r\n\r\n: ping\r\n\r\ndata: 2\r\rdata", []string{"event: a\ndata: 1\n\n", "data: 2\n\n"}, true, true},
		{": keep-alive\n\n\n\n:\n", nil, false, false},
		{long + "data: 3\n\n", []string{"data: 3\n\n"}, true, false},
		{"data: 1\n", nil, true, true},
		{"", nil, false, false},
	} {
		for _, n := range []int{1, 3, 1 << 20} {
			var e Events
			var got []string
			content := false
			for b := []byte(test.text); len(b) > 0; {
				k := min(n, len(b))
				if e.Write(b[:k], func(event []byte) { got = append(got, string(event)) }) {
					content = true
				}
				b = b[k:]
			}
			if !reflect.DeepEqual(got, test.want) || content != test.content || e.Open() != test.open {
				t.Errorf("%.60q in pieces of %d: got %.200q, content %v, open %v, want %.200q, %v, %v",
					test.text, n, got, content, e.Open(), test.want, test.content, test.open)
			}
		}
	}
}

// The generated text is measured in every provider's form, also that of a document which was cut. Names, and events that
// repeat the text, don't count.
func TestReader_MeasuresGeneratedText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`{"choices":[{"message":{"role":"assistant","content":"12345678"}}]}`:       2,
		`{"content":[{"type":"text","text":"1234"},{"type":"text","text":"5678"}]}`: 2,
		`{"choices":[{"message":{"role":"assistant","content":"123456789012`:        3,
		`{"content":"四字成语"}`:                                                      4,
		`{"content":{"role":"a long role"},"id":"12345678"}`:                      0,
		`{"candidates":[{"content":{"parts":[{"text":"1234"}],"role":"model"}}]}`: 1,
	} {
		r := NewReader("application/json", func([]byte) {})
		for i := range len(text) {
			r.Write([]byte(text[i : i+1]))
		}
		if got := r.Tokens(); got != want {
			t.Errorf("%s: got %d tokens, want %d", text, got, want)
		}
	}
	r := NewReader("text/event-stream", func([]byte) {})
	r.Write([]byte("data: {\"type\":\"response.output_text.delta\",\"delta\":\"1234\"}\n\n" +
		"data: {\"delta\":{\"text\":\"5678\",\"partial_json\":\"{\\\"a\"}}\n\n" +
		"data: {\"type\":\"response.output_text.done\",\"text\":\"12345678\"}\n\ndata: [DONE]\n\n"))
	if got := r.Tokens(); got != 3 || !r.Stream() {
		t.Errorf("got %d tokens of a stream, want 3", got)
	}
}
