package provider

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/penstock/penstock/caller"
)

// pending is the verdict on a body that shows neither output nor a failure so far.
var pending = caller.Verdict{Outcome: caller.Pending, Scope: caller.ScopeProvider}

// begin judges the first part of the body of an answer whose status is a success. A nil body is judged by its status
// alone. Only the answer to a POST can be pending: other answers may be empty.
func (d *dialect) begin(r *http.Response, body []byte) caller.Verdict {
	if body == nil {
		return caller.Verdict{}
	}
	post := r.Request != nil && r.Request.Method == http.MethodPost
	v := d.beginning(r, body, post)
	if v.Outcome == caller.Pending && (!post || d.foreign && !graphQLBegun(body) || r.StatusCode == http.StatusNoContent) {
		return caller.Verdict{}
	}
	return v
}

func (d *dialect) beginning(r *http.Response, body []byte, html bool) caller.Verdict {
	kind, _, _ := strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	head := bytes.TrimLeft(body, whitespace)
	switch {
	case strings.HasSuffix(kind, "event-stream"), isStream(head):
		return d.stream(r, body)
	case len(head) == 0:
		if kind == "" || strings.Contains(kind, "json") || strings.HasPrefix(kind, "text/") {
			return pending
		}
	case head[0] == '{':
		return d.object(r, head)
	case head[0] == '[':
		return d.list(r, head)
	case html && !d.foreign && strings.HasSuffix(kind, "html"):
		v := transient.apply(caller.Verdict{})
		v.Reason = "html" // a gateway's page in place of the provider's answer
		return v
	}
	return caller.Verdict{}
}

// isStream reports whether text begins as server-sent events do.
func isStream(head []byte) bool {
	for _, field := range []string{"data:", "event:", "id:", "retry:", ":"} {
		if bytes.HasPrefix(head, []byte(field)) {
			return true
		}
	}
	return false
}

// list judges a stream in the form of a JSON list, which is Gemini's, by its first element. GraphQL's batches are lists, too.
func (d *dialect) list(r *http.Response, head []byte) caller.Verdict {
	for element := range elements(head) {
		return d.object(r, element)
	}
	if rest := bytes.TrimLeft(head[1:], whitespace); len(rest) > 0 {
		return caller.Verdict{} // an empty list
	}
	return pending
}

// outputs are the members whose content is what was asked for.
var outputs = map[string]bool{
	"choices": true, "content": true, "output": true, "candidates": true, "data": true, "results": true, "embeddings": true,
	"embedding": true, "predictions": true, "message": true, "text": true, "completion": true, "reply": true, "images": true,
}

// object judges a JSON object, of which the end may be missing.
func (d *dialect) object(r *http.Response, body []byte) caller.Verdict {
	whole := complete(body)
	for key, value := range members(body) {
		switch string(key) {
		case "error":
			if !nothing(value) {
				return d.embedded(r, body, value)
			}
		case "errors":
			if v, failed := d.graphQL(r, body, value); failed || !complete(value) {
				return v
			}
		case "base_resp":
			if v, failed := d.baseResponse(r, value); failed {
				return v
			}
		default:
			if outputs[string(key)] && begun(value) {
				return d.output(r, string(key), value)
			}
		}
	}
	if whole {
		return caller.Verdict{}
	}
	return pending
}

// output judges the content of an answer. OpenRouter puts the failure of an upstream provider into the choice.
func (d *dialect) output(r *http.Response, key string, value []byte) caller.Verdict {
	if key == "choices" && !d.foreign {
		for choice := range elements(value) {
			if e := at(choice, "error"); !nothing(e) {
				return d.embedded(r, choice, e)
			}
			break
		}
	}
	return caller.Verdict{}
}

// embedded judges the member "error" of an object in a successful answer, as if its code were the status.
func (d *dialect) embedded(r *http.Response, body, value []byte) caller.Verdict {
	if !complete(value) {
		return pending
	}
	f := readFailure(body)
	status := failureStatus(f)
	if d.foreign && status == http.StatusInternalServerError {
		if _, known := d.codeMeaning(f); !known {
			return caller.Verdict{} // an API may have an answer with a member of that name
		}
	}
	return d.as(r, status, f)
}

// as judges a failure as one of the given status.
func (d *dialect) as(r *http.Response, status int, f failure) caller.Verdict {
	twin := &http.Response{StatusCode: status, Header: r.Header, Request: r.Request}
	v := byStatus(twin)
	v.Reason = "error"
	return d.judgeFailure(twin, v, f)
}

// failureStatus is the HTTP status that a failure's codes mean. A failure without such a code counts as
// one of the provider.
func failureStatus(f failure) int {
	for _, code := range []string{f.code, f.kind} {
		if n, ok := count([]byte(code)); ok && n >= http.StatusBadRequest && n < 600 {
			return int(n)
		}
		switch plain(code) {
		case "invalidrequesterror", "invalidargument", "invalidrequest", "badrequest", "invalidprompt", "contentpolicyviolation", "contentfilter":
			return http.StatusBadRequest
		case "permissionerror", "permissiondenied":
			return http.StatusForbidden
		case "notfounderror", "notfound":
			return http.StatusNotFound
		}
	}
	return http.StatusInternalServerError
}

// complete reports whether a value ends where its text does.
func complete(value []byte) bool {
	value = bytes.TrimRight(value, whitespace)
	if len(value) == 0 {
		return false
	}
	switch value[0] {
	case '{', '[':
		depth := 0
		for i := 0; i < len(value); i++ {
			switch value[i] {
			case '"':
				content, rest := cutString(value[i:])
				if i+1+len(content) == len(value) {
					return false
				}
				i = len(value) - len(rest) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return true
				}
			}
		}
		return false
	case '"':
		content, _ := cutString(value)
		return len(content)+2 <= len(value)
	}
	return true
}

// nothing reports whether a value is missing, null, false, or empty.
func nothing(value []byte) bool {
	switch s := string(value); s {
	case "", "null", "false", `""`, "{}", "[]", "n", "nu", "nul", "f", "fa", "fal", "fals":
		return true
	}
	return false
}

// begun reports whether the first part of a value has content.
func begun(value []byte) bool {
	if nothing(value) || len(value) == 0 {
		return false
	}
	if value[0] != '{' && value[0] != '[' && value[0] != '"' {
		return true
	}
	inside := bytes.TrimLeft(value[1:], whitespace)
	return len(inside) > 0 && inside[0] != '}' && inside[0] != ']'
}
