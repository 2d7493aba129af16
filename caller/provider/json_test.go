package provider

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A path of keys leads to an undecoded value.
func TestAt_FollowsAPath(t *testing.T) {
	const doc = ` { "a" : [1, {"b":"no"}], "error": {"code": "x\"y", "n": 12.5, "deep": {"er": null}}, "z": true } `
	for path, want := range map[string]string{
		"a": `[1, {"b":"no"}]`, "error code": `"x\"y"`, "error n": "12.5", "error deep er": "null", "z": "true", "b": "", "a b": "",
	} {
		if got := string(at([]byte(doc), strings.Fields(path)...)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if got := text(at([]byte(doc), "error", "code")); got != `x"y` {
		t.Errorf("got text %q, want x\"y", got)
	}
}

// Of an error's body only the beginning may be there.
func TestReadFailure_ReadsTruncatedBodies(t *testing.T) {
	const body = `{"error":{"type":"rate_limit_error","code":"slow_down","message":"Too \"many\" requests"}}`
	for n := range len(body) {
		f := readFailure([]byte(body[:n]))
		if n > strings.Index(body, `","code`) && f.kind != "rate_limit_error" {
			t.Errorf("%s: got %+v, want its type", body[:n], f)
		}
	}
}

// On valid JSON the readers agree with encoding/json.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":"b\"c","d":[1,2,{"e":"f"}],"g":{"h":null},"":true}`)
	f.Add(`["\ud83d\ude00","\u4f60","\ud83d","x\\","{[\"]}"]`)
	f.Add(`{"a":{"a":1},"a":2}`)
	f.Add(`{"a":"b","a":["c",{}],"a":true}`)
	f.Fuzz(func(t *testing.T, doc string) {
		var tree any
		valid := json.Unmarshal([]byte(doc), &tree) == nil && utf8.ValidString(doc)
		keys := []string{}
		for key, value := range members([]byte(doc)) {
			if valid && !json.Valid(value) {
				t.Errorf("%s: got value %s, want JSON", doc, value)
			}
			keys = append(keys, text(slices.Concat([]byte{'"'}, key, []byte{'"'})))
		}
		n := 0
		for value := range elements([]byte(doc)) {
			if valid && !json.Valid(value) {
				t.Errorf("%s: got element %s, want JSON", doc, value)
			}
			n++
		}
		var s size
		for _, text := range stringsIn([]byte(doc)) {
			s.addText(text)
		}
		if !valid {
			return
		}
		switch v := tree.(type) {
		case map[string]any:
			slices.Sort(keys)
			if want := slices.Sorted(maps.Keys(v)); !slices.Equal(slices.Compact(keys), want) {
				t.Errorf("got keys %q, want %q", keys, want)
			}
		case []any:
			if n != len(v) {
				t.Errorf("got %d elements, want %d", n, len(v))
			}
		}
		if want, exact := characters(doc); exact && s.chars != want {
			t.Errorf("%s: got %d characters, want %d", doc, s.chars, want)
		}
	})
}

// characters counts those of all strings in doc that aren't keys. It isn't exact where an escape stands for half a
// character: the decoder then replaces it.
func characters(doc string) (n int64, exact bool) {
	exact = true
	const key, value, element = 'k', 'v', 'e' // what comes next, in each array or object that is open
	next := []rune{element}
	for dec := json.NewDecoder(strings.NewReader(doc)); ; {
		token, err := dec.Token()
		if err != nil {
			return n, exact
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			next = next[:len(next)-1]
			continue
		}
		now := &next[len(next)-1]
		text, isText := token.(string)
		switch {
		case *now == key:
			*now = value
			continue
		case *now == value:
			*now = key
		}
		switch {
		case isText:
			n += int64(utf8.RuneCountInString(text))
			exact = exact && !strings.ContainsRune(text, utf8.RuneError)
		case token == json.Delim('{'):
			next = append(next, key)
		case token == json.Delim('['):
			next = append(next, element)
		}
	}
}
