package apisim

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const maxBody = 16 << 20

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { s.chat(w, r, openAI) })
	mux.HandleFunc("POST /v1/messages", func(w http.ResponseWriter, r *http.Request) { s.chat(w, r, anthropic) })
	s.controls(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		openAI.fail(w, http.StatusNotFound, apiError{
			Type: "invalid_request_error", Message: "Unknown request URL: " + r.Method + " " + r.URL.Path,
		})
	})
	return mux
}

// call is one attempt in the server.
type call struct {
	*chatRequest
	shape   shape
	id      uint64
	named   bool // id is the client's, not a running number
	key     *key
	fate    fate
	release func() // ends the time in flight; the first call counts
}

// chat passes a call through the steps in the package comment.
func (s *Server) chat(w http.ResponseWriter, r *http.Request, as shape) {
	if !s.enter() {
		abort(w)
		return
	}
	defer s.handlers.Done()

	c, failed := s.receive(w, r)
	if failed != nil {
		as.fail(w, failed.status, *failed)
		return
	}
	c.shape = as
	d := s.admit(c)
	setQuotaHeaders(w.Header(), d.quotas)
	if !d.admitted {
		as.refuse(w, d, c.key.account.id)
		return
	}
	defer c.release()
	if s.cfg.OnAdmit != nil {
		s.cfg.OnAdmit(s.admitted.Add(1))
	}
	s.answer(w, r, c)
}

// receive reads the body and finds the key.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) (*call, *apiError) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, badRequest("read the body: " + err.Error())
	}
	secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if secret == "" {
		secret = r.Header.Get("X-Api-Key") // Anthropic's
	}
	k := s.keys[secret]
	if k == nil {
		s.unknown.Add(1)
		return nil, invalidKey()
	}
	req, err := parseChat(body)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	c := &call{chatRequest: req, key: k}
	for _, id := range []string{
		r.Header.Get("Idempotency-Key"), r.Header.Get("X-Request-Id"), r.Header.Get("X-Client-Request-Id"),
		req.Metadata.RequestID,
	} {
		if id != "" {
			c.id, c.named = hash(id), true
			return c, nil
		}
	}
	c.id = s.sequence.Add(1)
	return c, nil
}

// admit draws the call's fate, and its account's decision.
func (s *Server) admit(c *call) decision {
	now := s.settings.Load()
	attempt := 0
	if c.named {
		attempt = s.calls.attempts(c.id)
	}
	c.fate = draw(s.cfg.Seed, c.id, attempt, now.failures, now.latency)
	free := s.cfg.FailuresAreFree && c.fate.kind.status() != 0
	d := c.key.account.admit(c.key, c.chatRequest, c.fate.kind, free, s.cfg.ThrottledCount)
	if !d.admitted {
		return d
	}
	left := false
	c.release = func() {
		if !left {
			left = true
			c.key.account.leave()
		}
	}
	s.record(c, func(r *record) {
		r.attempts++
		if c.fate.kind != "" {
			r.injected++
		}
	})
	return d
}

// answer carries out an admitted call's fate.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *call) {
	kind := c.fate.kind
	switch {
	case kind == Hang:
		<-r.Context().Done()
		abort(w)
	case kind.status() != 0:
		c.release()
		c.shape.fail(w, kind.status(), injected(kind))
	case c.Stream:
		s.stream(w, r, c)
	case !sleep(r.Context(), c.fate.latency):
		s.gone.Add(1)
		abort(w)
	default:
		s.record(c, func(r *record) { r.served++ })
		c.release()
		if kind == Reset {
			abort(w)
			return
		}
		writeCompletion(w, c, kind == Cut)
	}
}

func (s *Server) record(c *call, f func(*record)) {
	if c.named {
		s.calls.update(c.id, f)
	}
}

// sleep waits; it reports false if the client or the server closed the connection before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// abort resets the connection: the client sees "connection reset by peer" rather than a clean end.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to drop a connection; it recovers
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
