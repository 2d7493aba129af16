package provider

import (
	"bytes"
	"net/http"

	"github.com/penstock/penstock/caller"
)

// event is one server-sent event.
type event struct {
	name string
	data []byte
}

// cutEvent splits a stream behind its first event. It is false for an event without an end.
func cutEvent(stream []byte) (e event, rest []byte, ok bool) {
	for len(stream) > 0 {
		line, after, found := bytes.Cut(stream, []byte("\n"))
		if !found {
			return e, nil, false
		}
		stream = after
		line = bytes.TrimSuffix(line, []byte("\r"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && (e.name != "" || e.data != nil):
			return e, stream, true
		case string(name) == "event":
			e.name = string(value)
		case string(name) == "data" && e.data == nil:
			e.data = value
		case string(name) == "data":
			e.data = append(append(bytes.Clone(e.data), '\n'), value...)
		}
	}
	return e, nil, false
}

// stream judges the first events: the first one with output or a failure decides.
func (d *dialect) stream(r *http.Response, body []byte) caller.Verdict {
	for {
		e, rest, ok := cutEvent(body)
		if !ok {
			return pending
		}
		if v := d.event(r, e); v.Outcome != caller.Pending {
			return v
		}
		body = rest
	}
}

// silent are the events before any output.
var silent = map[string]bool{
	"ping": true, "message_start": true, "content_block_start": true, "message-start": true, "content-start": true,
	"response.created": true, "response.in_progress": true, "response.queued": true, "response.output_item.added": true,
	"response.content_part.added": true,
}

func (d *dialect) event(r *http.Response, e event) caller.Verdict {
	kind := text(at(e.data, "type"))
	switch {
	case e.name == "error" || kind == "error" || kind == "response.error":
		return d.failedEvent(r, e.data)
	case kind == "response.failed" || e.name == "response.failed":
		return d.failedEvent(r, at(e.data, "response"))
	case silent[kind] || silent[e.name]:
		return pending
	case len(e.data) == 0 || e.data[0] != '{' && e.data[0] != '[':
		return caller.Verdict{} // [DONE], or text of another API
	}
	if v := d.object(r, e.data); v.Outcome != caller.Success {
		return v
	}
	if onlyRole(e.data) {
		return pending
	}
	return caller.Verdict{}
}

// failedEvent judges the object with a failure.
func (d *dialect) failedEvent(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	return d.as(r, failureStatus(f), f)
}

// onlyRole reports whether a chunk of a chat completion has no text: its choices are empty, or their deltas name a role
// alone.
func onlyRole(data []byte) bool {
	choices := at(data, "choices")
	if choices == nil {
		return false
	}
	for choice := range elements(choices) {
		if !nothing(at(choice, "finish_reason")) {
			return false
		}
		for key, value := range members(at(choice, "delta")) {
			if string(key) != "role" && !nothing(value) {
				return false
			}
		}
		if at(choice, "delta") == nil {
			return false
		}
	}
	return nothing(at(data, "usage"))
}
