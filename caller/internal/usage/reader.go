// Package usage finds the JSON documents in the body of an HTTP response while the body's user reads it.
//
// A document is a JSON body, an element of a JSON list, or the data of a server-sent event. The package keeps an outline
// of each, in bounded memory: objects, numbers and short strings, which is where providers report a call's usage. It also
// measures the generated text, for responses that don't come to the report.
package usage

import (
	"mime"
	"strings"
)

// Reader parses the body of one response. It isn't safe for concurrent use.
type Reader struct {
	found   func(document []byte)
	events  *sse // nil: the body is JSON, not a stream of events
	outline outline
}

// NewReader returns a Reader for a body of the given Content-Type, or nil if the body is neither JSON nor a stream of
// server-sent events. The Reader calls found with the outline of each document, which is valid until found returns.
func NewReader(contentType string, found func(document []byte)) *Reader {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "text/event-stream":
		return &Reader{found: found, events: &sse{}}
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return &Reader{found: found}
	}
	return nil
}

// Write parses the next piece of the body.
func (r *Reader) Write(b []byte) {
	if r.events == nil {
		r.outline.write(b, r.found)
		return
	}
	r.events.write(b, func(data []byte) { r.outline.write(data, r.found) }, r.outline.reset)
}

// Complete reports whether the text shows that nothing follows: the JSON document is closed, or the stream had its
// [DONE].
func (r *Reader) Complete() bool {
	if r.events != nil {
		return r.events.done
	}
	return r.outline.complete()
}

// Stream reports whether the body is a stream of server-sent events.
func (r *Reader) Stream() bool { return r.events != nil }

// Tokens estimates the generated text that was read so far, in tokens.
func (r *Reader) Tokens() int64 { return r.outline.text.tokens() }
