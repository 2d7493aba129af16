package provider

import (
	"cmp"
	"strings"
)

// failure is the content of an error body. Fields that the body lacks are empty.
type failure struct {
	code     string // the finest name or number
	kind     string // a coarser name
	message  string
	details  []byte // JSON
	metadata []byte // JSON
}

// readFailure reads the shapes that error bodies have: an object "error" or "detail", or the first element of "errors"; the
// same in the first element of a list; an "error" that is text beside a code; or the members of that object by themselves.
func readFailure(body []byte) failure {
	for element := range elements(body) {
		body = element
		break
	}
	var f failure
	inner := at(body, "error")
	switch {
	case isObject(inner):
		body = inner
	case len(inner) > 0 && inner[0] == '"':
		f.message = text(inner)
	case isObject(at(body, "detail")):
		body = at(body, "detail")
	default:
		for element := range elements(at(body, "errors")) {
			if isObject(element) {
				body = element
			}
			break
		}
	}
	for key, value := range members(body) {
		switch string(key) {
		case "code":
			f.code = text(value)
		case "type", "status":
			f.kind = text(value)
		case "message", "detail":
			f.message = cmp.Or(f.message, text(value))
		case "details":
			f.details = value
		case "metadata":
			f.metadata = value
		}
	}
	return f
}

func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// reason is the failure's name for metrics and messages.
func (f failure) reason(fallback string) string {
	return short(cmp.Or(name(f.code), name(f.kind), fallback))
}

// name returns a code if it has the form of one. A sentence in its place may quote a key.
func name(code string) string {
	if strings.ContainsAny(code, " \t\n") {
		return ""
	}
	return code
}

// short cuts a code of any server to a size that suits a metric's label.
func short(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "")
	}
	return s
}
