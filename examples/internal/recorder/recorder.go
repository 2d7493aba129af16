// Package recorder is an HTTP proxy in front of a provider. It records every attempt, and breaks the way to the provider
// on demand.
//
// The record is independent of the client and of the provider's own limits: it has what the client offered, refused or
// not. An attempt ends in the record before its last byte leaves, so a client that sends its next call at the end of an
// answer never counts as one too many in flight.
package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// Attempt is one request as the recorder saw it.
type Attempt struct {
	ID      string        // the request's Idempotency-Key
	Key     string        // key ID; empty for an unknown secret
	Account string        // of the key
	Tokens  int64         // what it costs of a limit of tokens
	Begin   time.Duration // arrival, since the recorder's origin
	End     time.Duration // end of the time in flight; 0 while in flight
	Status  int           // of the answer; 0: none was sent
	Reason  string        // of a 429: requests, tokens, concurrency, insufficient_quota, busy or storm
	Whole   bool          // a completion was sent as a whole
	Broken  bool          // the answer was cut, or did not come, by a fault; a repetition has a reason
}

// Key is what the recorder knows of a secret.
type Key struct{ ID, Account string }

// Config says what Start runs.
type Config struct {
	Upstream string         // the provider's URL without a path
	Keys     map[string]Key // by secret
	Origin   time.Time      // times in the record count from here
}

// Recorder is a running proxy. All methods are safe for concurrent use.
type Recorder struct {
	cfg      Config
	listener net.Listener
	server   *http.Server
	client   *http.Transport
	stop     context.CancelFunc
	served   chan struct{}

	mu       sync.Mutex
	mood     Mood
	changed  chan struct{} // closed and replaced at each change of mood
	turn     float64       // share of an attempt that the mood is still to meet
	attempts []*Attempt
}

// Start listens on a free port of 127.0.0.1 and records until Close.
func Start(cfg Config) (*Recorder, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Recorder{
		cfg: cfg, listener: listener, stop: stop, served: make(chan struct{}), changed: make(chan struct{}),
		client: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true},
	}
	r.server = &http.Server{
		Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(listener) // ends with ErrServerClosed
	}()
	return r, nil
}

// URL returns the address that stands for the provider's, without a path.
func (r *Recorder) URL() string { return "http://" + r.listener.Addr().String() }

// Close ends the proxy. The record stays readable.
func (r *Recorder) Close() {
	r.stop()
	_ = r.server.Close()
	<-r.served
	r.client.CloseIdleConnections()
}

// Attempts returns a copy of the record, in the order of arrival.
func (r *Recorder) Attempts() []Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Attempt, 0, len(r.attempts))
	for _, a := range r.attempts {
		all = append(all, *a)
	}
	return all
}

// Answered returns how many attempts began after since and were answered as a whole.
func (r *Recorder) Answered(since time.Duration) int {
	n := 0
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range slices.Backward(r.attempts) {
		if a.Begin < since {
			break
		}
		if a.Whole {
			n++
		}
	}
	return n
}

func (r *Recorder) now() time.Duration { return time.Since(r.cfg.Origin) }

// serve is the whole life of an attempt.
func (r *Recorder) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil { // the client left before it was an attempt
		abort(w)
		return
	}
	a, mood := r.begin(req, body)
	reply, err := r.meet(req, body, mood)
	r.update(func() {
		a.End = r.now()
		if reply != nil {
			a.Status, a.Reason = reply.status, reply.reason()
		}
		gone := req.Context().Err() != nil
		a.Broken = !gone && (err != nil || reply != nil && reply.cut)
		a.Whole = !gone && err == nil && reply != nil && reply.answers()
	})
	if err != nil {
		abort(w)
		return
	}
	reply.write(w)
}

// begin enters an attempt into the record.
func (r *Recorder) begin(req *http.Request, body []byte) (*Attempt, Mood) {
	secret, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	key := r.cfg.Keys[secret]
	a := &Attempt{ID: req.Header.Get("Idempotency-Key"), Key: key.ID, Account: key.Account}
	a.Tokens, _ = apisim.TokenCost(body) // the provider refuses what can't be read
	r.mu.Lock()
	defer r.mu.Unlock()
	a.Begin = r.now()
	r.attempts = append(r.attempts, a)
	return a, r.drawMood()
}

func (r *Recorder) update(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// stallAfter is the time after which an answer whose end is missing counts as stalled.
const stallAfter = 500 * time.Millisecond

// errMute is that no answer comes.
var errMute = errors.New("no answer")

// meet lets an attempt meet the mood, and the provider.
func (r *Recorder) meet(req *http.Request, body []byte, mood Mood) (*reply, error) {
	switch mood.Kind {
	case Storm:
		return storm(), nil
	case Mute:
		r.waitForChange(req.Context())
		return nil, errMute
	case Slow:
		if !sleep(req.Context(), mood.Delay) {
			return nil, req.Context().Err()
		}
	case Cut, Half, Sound:
	}
	answer, err := r.forward(req, body)
	if err != nil {
		return nil, err
	}
	switch mood.Kind {
	case Cut:
		return nil, errMute
	case Half:
		answer.body, answer.cut = answer.body[:len(answer.body)/2], true
	case Sound, Storm, Mute, Slow:
	}
	return answer, nil
}

// forward sends the attempt to the provider and reads all that comes.
func (r *Recorder) forward(req *http.Request, body []byte) (*reply, error) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	out, err := http.NewRequestWithContext(ctx, req.Method, r.cfg.Upstream+req.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = req.Header.Clone()
	out.GetBody = nil
	out.Header["Idempotency-Key"] = nil // the proxy must not send anything twice by itself
	out.Header.Set("X-Request-Id", req.Header.Get("Idempotency-Key"))
	res, err := r.client.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	timer := time.AfterFunc(stallAfter, cancel)
	text, err := io.ReadAll(res.Body)
	stalled := !timer.Stop() && err != nil
	return &reply{
		status: res.StatusCode, header: res.Header, body: text, length: res.ContentLength, cut: err != nil, stalled: stalled,
	}, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
