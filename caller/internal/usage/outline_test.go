package usage

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// outlinesOf parses text in pieces of n bytes.
func outlinesOf(text string, n int) (found []string, o *outline) {
	o = &outline{}
	for b := []byte(text); len(b) > 0; {
		k := min(n, len(b))
		o.write(b[:k], func(d []byte) { found = append(found, string(d)) })
		b = b[k:]
	}
	return found, o
}

// Each document's outline has its objects, numbers and short strings. Longer strings are empty, and lists have only the
// elements that report a usage. Where the text is cut into pieces makes no difference.
func TestOutline_KeepsObjectsNumbersAndShortStrings(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxString+1)
	for _, test := range []struct {
		text     string
		want     []string
		complete bool
	}{
		{`{"usage":{"a":1,"b":[1,{"c":"]}"}]},"d":"e"}`, []string{`{"usage":{"a":1,"b":[]},"d":"e"}`}, true},
		{`{"a":"` + long + `","b":"` + long[1:] + `"}`, []string{`{"a":"","b":"` + long[1:] + `"}`}, true},
		{`{"a":"\"}\\","b":"` + long + `\"\\"}`, []string{`{"a":"\"}\\","b":""}`}, true},
		{` [{"a":1}, "x", 7, [2], {"b":[{}]}] `, []string{`{"a":1}`, `[]`, `{"b":[]}`}, true},
		{`{"choices":[{"delta":{}},{"delta":{},"usage":{"a":1}}],"b":2}`, []string{`{"choices":[{"delta":{},"usage":{"a":1}}],"b":2}`}, true},
		{`{"c":[{"usage":{"a":1}},2,[3],"4"]}`, []string{`{"c":[{"usage":{"a":1}}]}`}, true},
		{`{"c":[0,[1,{"usage":{"a":[5]}},2],3]}`, []string{`{"c":[[{"usage":{"a":[]}}]]}`}, true},
		{`{"c":[{"` + strings.Repeat(`x":0,"`, maxOutline) + `":0},{"usage":7}]}`, []string{`{"c":[{"usage":7}]}`}, true},
		{`{"c":[[[[[[[[[[[[{"usage":1}]]]]]]]]]]]]}`, []string{`{"c":[]}`}, true},
		{`{"a":1}{"b":2}`, []string{`{"a":1}`, `{"b":2}`}, true},
		{`{"a":{"b":1}`, nil, false},
		{`}]"{`, nil, false},
		{`"[`, nil, false},
		{`{"a":"` + strings.Repeat(`","b":"`, maxOutline) + `"}`, nil, true},
	} {
		for _, n := range []int{1, 3, 1 << 20} {
			got, o := outlinesOf(test.text, n)
			if !reflect.DeepEqual(got, test.want) || o.complete() != test.complete {
				t.Errorf("%.60q in pieces of %d bytes: got %.100q, complete %v, want %.100q, %v",
					test.text, n, got, o.complete(), test.want, test.complete)
			}
		}
	}
}

// The outline of a JSON object is a JSON object with the same objects and numbers.
func FuzzOutline(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\\"],"b":{"c":"d"}}`, `[{"a":1}]`, `{"\"":"` + strings.Repeat("é", 200) + `"}`, `{"a":`} {
		f.Add(s, 2)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		got, o := outlinesOf(text, max(1, n))
		if len(o.kept) > maxOutline {
			t.Errorf("got an outline of %d bytes, want at most %d", len(o.kept), maxOutline)
		}
		var full map[string]any
		if len(text) > maxOutline || strings.Contains(text, elementMark) || json.Unmarshal([]byte(text), &full) != nil || full == nil {
			return
		}
		var short map[string]any
		if len(got) != 1 || json.Unmarshal([]byte(got[0]), &short) != nil || !o.complete() {
			t.Fatalf("%q: got the outlines %q, want one JSON object", text, got)
		}
		if got, want := emptied(short), emptied(full); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	})
}

// emptied returns the expected outline of a value, without strings: which strings are skipped depends on how they are
// written.
func emptied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{} // a long member name is skipped, its value is kept
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

func BenchmarkOutline(b *testing.B) {
	text := []byte(`{"choices":[{"message":{"content":"` + strings.Repeat("word ", 2000) + `"}}],"usage":{"total_tokens":7}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var o outline
	for b.Loop() {
		o.write(text, func([]byte) {})
	}
}
