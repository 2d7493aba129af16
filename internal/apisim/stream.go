package apisim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

const pieces = 8 // the most events of a streamed answer's text

// stream sends the answer as server-sent events: the first after half of the latency, the others over the rest. Where the
// client asked for the usage, it is in an event of its own before [DONE].
func (s *Server) stream(w http.ResponseWriter, r *http.Request, c *call) {
	a := c.answer()
	parts := split(a.text, pieces)
	pause := c.fate.latency / 2
	rc := http.NewResponseController(w)
	for i, part := range parts {
		if !sleep(r.Context(), pause) {
			s.gone.Add(1)
			abort(w)
			return
		}
		pause = c.fate.latency / 2 / time.Duration(len(parts))
		switch {
		case i == 0 && c.fate.kind == Reset, i == len(parts)/2 && (c.fate.kind == Cut || c.fate.kind == Stall):
			s.record(c, func(r *record) { r.served++ })
			s.settle(c, a)
			s.endBroken(w, r, c)
			return
		case i == 0:
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = w.Write(c.piece(i, part, a))
		_ = rc.Flush()
	}
	if !sleep(r.Context(), pause) {
		s.gone.Add(1)
		abort(w)
		return
	}
	s.record(c, func(r *record) { r.served++ })
	s.settle(c, a)
	c.release()
	_, _ = w.Write(c.ending(a))
}

// piece is the i-th part of a streamed response's text.
func (c *call) piece(i int, part string, a answer) []byte {
	if c.shape == anthropic {
		return c.messagePiece(i, part, a)
	}
	return c.event(&choice{Delta: &text{Role: "assistant", Content: part}}, nil)
}

// ending is the end of a streamed response.
func (c *call) ending(a answer) []byte {
	if c.shape == anthropic {
		return c.messageEnding(a)
	}
	last := c.event(&choice{Delta: &text{}, FinishReason: &a.finish}, nil)
	if c.StreamOptions.IncludeUsage {
		last = append(last, c.event(nil, &a.usage)...)
	}
	return append(last, "data: [DONE]\n\n"...)
}

// event is one server-sent event: a choice, or none and the usage.
func (c *call) event(ch *choice, u *usage) []byte {
	chunk := completion{
		ID: c.name(), Object: "chat.completion.chunk", Created: time.Now().Unix(), Model: c.Model, Usage: u,
		Choices: []choice{},
	}
	if ch != nil {
		chunk.Choices = append(chunk.Choices, *ch)
	}
	var b bytes.Buffer
	b.WriteString("data: ")
	if err := json.NewEncoder(&b).Encode(chunk); err != nil { // strings and numbers can always be encoded
		return nil
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// split cuts a text into at most n parts of about the same number of characters.
func split(s string, n int) []string {
	runes := []rune(s)
	size := max(1, (len(runes)+n-1)/n)
	var parts []string
	for len(runes) > size {
		parts = append(parts, string(runes[:size]))
		runes = runes[size:]
	}
	return append(parts, string(runes))
}
