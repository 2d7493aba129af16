package apisim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// misbehave writes an answer of status 200 that isn't one. It reports whether the kind is such a failure.
func (c *call) misbehave(w http.ResponseWriter, kind Kind) bool {
	switch kind {
	case Empty:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "\n\n\n")
	case Page:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html><body><h1>Service is starting</h1></body></html>\n")
	case Embedded:
		c.embed(w)
	default:
		return false
	}
	return true
}

// embed writes an error in a successful answer: as the body, or as the first event of a stream.
func (c *call) embed(w http.ResponseWriter) {
	body, err := json.Marshal(c.shape.failure(http.StatusServiceUnavailable, injected(Embedded)))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !c.Stream:
		write(w, http.StatusOK, body)
	case c.shape == anthropic:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: error\ndata: %s\n\n", body)
	default:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\n", body)
	}
}

// breakOff writes the beginning of an answer and ends it by a reset, or sends nothing more until the client gives up.
func (s *Server) breakOff(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	n := len(body) / 2
	if s.cfg.CutAt > 0 {
		n = min(s.cfg.CutAt, len(body))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:n])
	_ = http.NewResponseController(w).Flush()
	s.endBroken(w, r, c)
}

// endBroken ends an answer that has begun, as its fate has it. A stalled call stays in flight until the client gives up.
func (s *Server) endBroken(w http.ResponseWriter, r *http.Request, c *call) {
	if c.fate.kind == Stall {
		<-r.Context().Done()
	}
	c.release()
	abort(w)
}
