package caller

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// outline reads text in pieces of n bytes.
func outline(text string, n int) (found []string, s *skeleton) {
	s = &skeleton{}
	for b := []byte(text); len(b) > 0; {
		k := min(n, len(b))
		s.write(b[:k], func(d []byte) { found = append(found, string(d)) })
		b = b[k:]
	}
	return found, s
}

func TestSkeleton(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxString+1)
	for _, test := range []struct {
		text  string
		want  []string
		whole bool
	}{
		{`{"usage":{"a":1,"b":[1,{"c":"]}"}]},"d":"e"}`, []string{`{"usage":{"a":1,"b":[]},"d":"e"}`}, true},
		{`{"a":"` + long + `","b":"` + long[1:] + `"}`, []string{`{"a":"","b":"` + long[1:] + `"}`}, true},
		{`{"a":"\"}\\","b":"` + long + `\"\\"}`, []string{`{"a":"\"}\\","b":""}`}, true},
		{` [{"a":1}, "x", 7, [2], {"b":[{}]}] `, []string{`{"a":1}`, `[]`, `{"b":[]}`}, true},
		{`{"a":1}{"b":2}`, []string{`{"a":1}`, `{"b":2}`}, true},
		{`{"a":{"b":1}`, nil, false},
		{`}]"{`, nil, false},
		{`"[`, nil, false},
		{`{"a":"` + strings.Repeat(`","b":"`, maxSkeleton) + `"}`, nil, true},
	} {
		for _, n := range []int{1, 3, 1 << 20} {
			got, s := outline(test.text, n)
			if !reflect.DeepEqual(got, test.want) || s.whole() != test.whole {
				t.Errorf("%.60q in pieces of %d: %.100q, whole %v", test.text, n, got, s.whole())
			}
		}
	}
}

// Of JSON the outline is JSON, with the same objects and numbers.
func FuzzSkeleton(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\\"],"b":{"c":"d"}}`, `[{"a":1}]`, `{"\"":"` + strings.Repeat("é", 200) + `"}`, `{"a":`} {
		f.Add(s, 2)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		got, s := outline(text, max(1, n))
		if len(s.kept) > maxSkeleton {
			t.Errorf("keeps %d bytes", len(s.kept))
		}
		var full map[string]any
		if len(text) > maxSkeleton || json.Unmarshal([]byte(text), &full) != nil || full == nil {
			return
		}
		var short map[string]any
		if len(got) != 1 || json.Unmarshal([]byte(got[0]), &short) != nil || !s.whole() {
			t.Fatalf("of %q: %q", text, got)
		}
		if got, want := emptied(short), emptied(full); !reflect.DeepEqual(got, want) {
			t.Errorf("of %q: %v, want %v", text, got, want)
		}
	})
}

// emptied is what the outline of a value should be, without strings: which are left out depends on how they are written.
func emptied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{} // of a long key nothing but its value is left
		for k, e := range v {
			if len(k) <= 40 {
				m[k] = emptied(e)
			}
		}
		return m
	case []any:
		return []any{}
	case string:
		return ""
	}
	return v
}

func TestEvents(t *testing.T) {
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
			var e events
			var data bytes.Buffer
			ends := 0
			for b := []byte(test.text); len(b) > 0; {
				k := min(n+1, len(b))
				e.write(b[:k], func(b []byte) { data.Write(b) }, func() { data.WriteByte('|'); ends++ })
				b = b[k:]
			}
			if data.String() != test.data || ends != test.ends || e.done != test.done {
				t.Errorf("%q in pieces of %d: %q, %d events, done %v", test.text, n+1, data.String(), ends, e.done)
			}
		}
	}
}

func BenchmarkSkeleton(b *testing.B) {
	text := []byte(`{"choices":[{"message":{"content":"` + strings.Repeat("word ", 2000) + `"}}],"usage":{"total_tokens":7}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var s skeleton
	for b.Loop() {
		s.write(text, func([]byte) {})
	}
}
