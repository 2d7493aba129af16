package provider

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"strconv"
)

// The functions of this file read JSON in place, without building it in memory: request bodies can have megabytes, and of
// an error's body only the beginning may be there. None recurses, so depth costs nothing. On text that isn't JSON they
// find less, or nonsense, but always end.

// members yields an object's keys, undecoded and without quotes, and its values, undecoded. The last value of an object
// that was cut off is what is there of it.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		b := bytes.TrimLeft(object, whitespace)
		if len(b) == 0 || b[0] != '{' {
			return
		}
		for b = b[1:]; ; {
			b = bytes.TrimLeft(b, whitespace+",")
			if len(b) == 0 || b[0] != '"' {
				return
			}
			key, rest := cutString(b)
			rest = bytes.TrimLeft(rest, whitespace)
			if len(rest) == 0 || rest[0] != ':' {
				return
			}
			value, rest := cutValue(bytes.TrimLeft(rest[1:], whitespace))
			if len(value) == 0 || !yield(key, value) {
				return
			}
			b = rest
		}
	}
}

// elements yields the values of an array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := bytes.TrimLeft(array, whitespace)
		if len(b) == 0 || b[0] != '[' {
			return
		}
		for b = b[1:]; ; {
			value, rest := cutValue(bytes.TrimLeft(b, whitespace+","))
			if len(value) == 0 || !yield(value) {
				return
			}
			b = rest
		}
	}
}

// stringsIn yields every string in a value, undecoded and without quotes, with the key before it. A string that is a key
// itself is left out.
func stringsIn(value []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, text []byte) bool) {
		var key []byte
		for {
			start := bytes.IndexByte(value, '"')
			if start < 0 {
				return
			}
			text, rest := cutString(value[start:])
			value = bytes.TrimLeft(rest, whitespace)
			if len(value) > 0 && value[0] == ':' {
				key = text
			} else if !yield(key, text) {
				return
			}
		}
	}
}

// keysIn yields every key in a value, undecoded and without quotes, at any depth.
func keysIn(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			start := bytes.IndexByte(value, '"')
			if start < 0 {
				return
			}
			text, rest := cutString(value[start:])
			value = bytes.TrimLeft(rest, whitespace)
			if len(value) > 0 && value[0] == ':' && !yield(text) {
				return
			}
		}
	}
}

// at follows a path of keys into nested objects. It is nil where the path leads nowhere.
func at(value []byte, path ...string) []byte {
	for _, key := range path {
		var found []byte
		for k, v := range members(value) {
			if string(k) == key {
				found = v
				break
			}
		}
		value = found
	}
	return value
}

// text decodes a string, or returns a number as it is written. Of anything else it is empty.
func text(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	if value[0] != '"' {
		if _, ok := count(value); ok {
			return string(value)
		}
		return ""
	}
	var s string
	if json.Unmarshal(value, &s) != nil { // cut off
		s = string(bytes.Trim(value, `"`))
	}
	return s
}

// most is the largest count that is taken at its word: the last integer up to which Redis and JSON are exact.
const most = 1 << 53

// count reads a number that isn't negative as an integer, rounded up and at most 2^53.
func count(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 64 || len(bytes.Trim(value, "0123456789.eE+-")) > 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(value), 64)
	if !(n >= 0) || err != nil && !math.IsInf(n, 1) {
		return 0, false
	}
	return int64(math.Ceil(min(n, most))), true
}

const whitespace = " \t\r\n"

// cutString splits b, which begins with a quote, behind the string. One that doesn't end is all of b.
func cutString(b []byte) (content, rest []byte) {
	for end := 1; ; end++ {
		next := bytes.IndexByte(b[end:], '"')
		if next < 0 {
			return b[1:], nil
		}
		end += next
		backslashes := 0
		for b[end-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return b[1:end], b[end+1:]
		}
	}
}

// cutValue splits b behind the value that it begins with. One that doesn't end is all of b.
func cutValue(b []byte) (value, rest []byte) {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			_, rest := cutString(b[i:])
			i = len(b) - len(rest)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return b[:i], b[i:]
			}
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return b[:i], b[i:]
			}
			i++
			continue
		default:
			i++
			if depth == 0 {
				continue
			}
		}
		if depth == 0 {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// encode is JSON of maps, strings and numbers, which can't fail.
func encode(value any) []byte {
	b, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return b
}
