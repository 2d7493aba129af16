package apisim

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const maxBody = 16 << 20

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for path, as := range map[string]shape{"/v1/chat/completions": openAI, "/v1/messages": anthropic} {
		serve := func(w http.ResponseWriter, r *http.Request) { s.chat(w, r, as) }
		mux.HandleFunc("POST "+path, serve)
		mux.HandleFunc("POST /{region}"+path, serve)
	}
	s.controls(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		openAI.fail(w, http.StatusNotFound, apiError{
			Type: "invalid_request_error", Message: "Unknown request URL: " + r.Method + " " + r.URL.Path,
		})
	})
	if s.cfg.Compress {
		return compressed(mux)
	}
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

// chat is the life of a call; see the package comment.
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
	k := s.keyOf(secret)
	if k == nil {
		s.unknown.Add(1)
		return nil, invalidKey()
	}
	req, err := parseChat(body)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	if failed := k.account.lacks(r.PathValue("region"), req.Model); failed != nil {
		return nil, failed
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

// admit draws the call's fate and passes it to its account.
func (s *Server) admit(c *call) decision {
	now := s.settings.Load()
	attempt := 0
	if c.named {
		attempt = s.calls.attempts(c.id)
	}
	c.fate = draw(s.cfg.Seed, c.id, attempt, now.failures, now.latency)
	if s.now() < now.storm.until {
		c.fate.kind = now.storm.kind
	}
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

// answer answers an admitted call as its fate has it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *call) {
	kind := c.fate.kind
	switch {
	case kind == Hang:
		<-r.Context().Done()
		abort(w)
	case kind.status() != 0:
		c.release()
		c.shape.fail(w, kind.status(), injected(kind))
	case c.misbehave(w, kind):
		c.release()
	case c.Stream:
		s.stream(w, r, c)
	case !sleep(r.Context(), c.fate.latency):
		s.gone.Add(1)
		abort(w)
	default:
		s.complete(w, r, c)
	}
}

// complete serves a call whose answer isn't streamed.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, c *call) {
	s.record(c, func(r *record) { r.served++ })
	a := c.answer()
	body, err := json.Marshal(c.whole(a))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.settle(c, a)
	switch c.fate.kind {
	case Stall, Cut:
		if c.fate.kind == Cut {
			c.release()
		}
		s.breakOff(w, r, c, body)
	case Reset:
		c.release()
		abort(w)
	default:
		c.release()
		write(w, http.StatusOK, body)
	}
}

// settle corrects the limits of tokens to the call's usage.
func (s *Server) settle(c *call, a answer) {
	if s.cfg.Settle {
		c.key.account.settle(c.chatRequest, a.usage.TotalTokens)
	}
}

func (s *Server) record(c *call, f func(*record)) {
	if c.named {
		s.calls.update(c.id, f)
	}
}

// sleep waits. It reports false if the client left, or the server closed, before the time had passed.
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
