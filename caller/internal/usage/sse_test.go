package usage

import (
	"bytes"
	"testing"
)

// The values of data fields are found with every line ending, and where the text is cut into pieces makes no difference.
func TestSSE_FindsTheDataOfEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, data string
		ends       int
		done       bool
	}{
		{"data: one\n\ndata:two\n\n", " one|two|", 2, false},
		{"event: x\r\nid: 1\r\ndata: {\r\ndata: }\r\n\r\n", " { }|", 1, false},
		{"data: a\r\rdata: b\r\r", " a| b|", 2, false},
		{": comment\ndatum: x\nthe data: y\n\n", "|", 1, false},
		{"data: [DONE]\n\n", " [DONE]|", 1, true},
		{"data: [DONE]", " [DONE]", 0, false},
		{"data: a long line that is longer than what is kept of it\n\n", " a long line that is longer than what is kept of it|", 1, false},
	} {
		for n := range len(test.text) {
			var s sse
			var data bytes.Buffer
			ends := 0
			for b := []byte(test.text); len(b) > 0; {
				k := min(n+1, len(b))
				s.write(b[:k], func(b []byte) { data.Write(b) }, func() { data.WriteByte('|'); ends++ })
				b = b[k:]
			}
			if data.String() != test.data || ends != test.ends || s.done != test.done {
				t.Errorf("%q in pieces of %d bytes: got %q, %d events, done %v, want %q, %d, %v",
					test.text, n+1, data.String(), ends, s.done, test.data, test.ends, test.done)
			}
		}
	}
}
