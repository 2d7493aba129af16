package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

const goodBody = `{"id":"x","object":"chat.completion","choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`

// serve starts a provider that is a handler.
func serve(t *testing.T, h http.HandlerFunc) *provider {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &provider{t, s.URL}
}

func good(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, goodBody)
}

// An overload, throttling or a gateway without an answer costs no request: the run waits until it is over.
func TestBatch_WaitsOutAnOutage(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(w http.ResponseWriter){
		"overload":   func(w http.ResponseWriter) { w.WriteHeader(529) },
		"throttling": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
		"gateway":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"in 200": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"error":{"type":"overloaded_error","message":"Overloaded"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			var begin time.Time
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				once.Do(func() { begin = time.Now() })
				if time.Since(begin) < 3*time.Second {
					refuse(w)
					return
				}
				good(w)
			})
			k := newTask(t, p.pool(2, "retry: {attempts: 2, base: 10ms, max: 20ms}\n"), sampleRequests("r", 300))
			c := k.start("-workers", "50")
			s := k.finish(c, exitAllSucceeded)
			if s.Succeeded != 300 || read(t, k.errors) != "" {
				t.Errorf("got %+v and errors %q, want 300 answers", s, read(t, k.errors))
			}
			if !strings.Contains(c.Stderr(), "waiting for the provider") || !strings.Contains(c.Stderr(), "going on after") {
				t.Errorf("got messages %q, want those of the outage", c.Stderr())
			}
		})
	}
}

// A provider that no call reaches for a while costs no request, and the run goes on when it is back.
func TestBatch_WaitsOutADeadNetwork(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(5 * time.Millisecond)
		good(w)
	})
	first := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = first.Serve(listener) }()
	p := &provider{t, "http://" + listener.Addr().String()}
	k := newTask(t, p.pool(1, "retry: {attempts: 2, base: 10ms, max: 20ms}\n"), sampleRequests("r", 2000))
	c := k.start("-workers", "20")
	waitForLines(t, k.out, 50)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the program reports the outage", func() bool { return strings.Contains(c.Stderr(), "waiting for the provider") })
	again, err := net.Listen("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = second.Serve(again) }()
	t.Cleanup(func() { _ = second.Close() })
	if s := k.finish(c, exitAllSucceeded); s.Succeeded != 2000 || s.Failed != 0 {
		t.Errorf("got %+v, want 2000 answers", s)
	}
}

// When the patience runs out, the run ends without failures, and the same command continues it.
func TestBatch_EndsWhenThePatienceRunsOut(t *testing.T) {
	t.Parallel()
	p := &provider{t, "http://127.0.0.1:1"}
	k := newTask(t, p.pool(1, "retry: {attempts: 1}\n"), sampleRequests("r", 1000))
	c := k.start("-workers", "10", "-patience", "1s")
	s := k.finish(c, exitBroken)
	if s.Succeeded != 0 || s.Failed != 0 || s.left() != 1000 || !strings.Contains(c.Stderr(), "out of reach for too long") ||
		!strings.Contains(c.Stderr(), "run the same command again") {
		t.Errorf("got %+v and\n%s, want 1000 requests left and the reason", s, c.Stderr())
	}
}

// Ctrl-C ends the wait of an outage at once.
func TestBatch_EndsAnOutageOnCtrlC(t *testing.T) {
	t.Parallel()
	p := &provider{t, "http://127.0.0.1:1"}
	k := newTask(t, p.pool(1, "retry: {attempts: 1}\n"), sampleRequests("r", 100))
	c := k.start("-workers", "10")
	testkit.Eventually(t, "the program reports the outage", func() bool { return strings.Contains(c.Stderr(), "waiting for the provider") })
	c.Signal(os.Interrupt)
	if s := k.finish(c, exitInterrupted); s.Failed != 0 || s.left() != 100 {
		t.Errorf("got %+v, want 100 requests left", s)
	}
}

// An answer that breaks off or stalls is asked again in the same run.
func TestBatch_AsksAgainForABrokenAnswer(t *testing.T) {
	t.Parallel()
	for name, breakOff := range map[string]func(r *http.Request){
		"cut":     func(*http.Request) { panic(http.ErrAbortHandler) },
		"stalled": func(r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if n.Add(1) == 1 {
					_, _ = io.WriteString(w, goodBody[:60])
					_ = http.NewResponseController(w).Flush()
					breakOff(r)
					return
				}
				good(w)
			})
			k := newTask(t, p.pool(1, "timeout: 20s\nattempt_timeout: 10s\n"), sampleRequests("r", 3))
			s := k.run(exitAllSucceeded, "-timeout", "1s", "-workers", "2")
			if s.Succeeded != 3 || n.Load() != 4 {
				t.Errorf("got %+v after %d requests, want 3 answers after 4", s, n.Load())
			}
		})
	}
}

// A base_url with a version, as client libraries have it, isn't followed by a second one.
func TestBatch_KeepsOneVersionInTheURL(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/v1", "/openai/v1", "/api/v1", "/compatible-mode/v1"} {
		var path atomic.Value
		p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			path.Store(r.URL.RequestURI())
			good(w)
		})
		p.url += base + "?api-version=7"
		newTask(t, p.pool(1, ""), sampleRequests("r", 1)).run(exitAllSucceeded)
		want := "/v1/chat/completions?api-version=7"
		if base != "" {
			want = base + "/chat/completions?api-version=7"
		}
		if got := path.Load(); got != want {
			t.Errorf("base_url %q: got %v, want %s", base, got, want)
		}
	}
}

// Lines of white space alone, as editors leave them, are left out.
func TestBatch_LeavesOutBlankLines(t *testing.T) {
	t.Parallel()
	p := serve(t, func(w http.ResponseWriter, _ *http.Request) { good(w) })
	k := newTask(t, p.pool(1, ""), sampleRequests("a", 1)+"   \n\t\n"+sampleRequests("b", 1)+" \r\n")
	if s := k.run(exitAllSucceeded); s.Requests != 2 || s.Succeeded != 2 {
		t.Errorf("got %+v, want 2 requests", s)
	}
}

// The output of other tools counts by what is in it: successes are done, failures aren't.
func TestBatch_ReadsTheOutputOfOtherTools(t *testing.T) {
	t.Parallel()
	const (
		noID    = `{"custom_id":"r-0","response":{"status_code":200,"request_id":"r","body":{"id":"c"}},"error":null}` + "\n"
		refused = `{"id":"v1","custom_id":"r-0","response":{"status_code":400,"request_id":"r","body":null},"error":{"code":"x","message":"y"}}` + "\n"
		expired = `{"id":"v2","custom_id":"r-0","response":null,"error":{"code":"batch_expired","message":"y"}}` + "\n"
	)
	for name, tc := range map[string]struct {
		out                         string
		exit                        int
		requests, answers, failures int
	}{
		"no id":   {noID, exitAllSucceeded, 1, 2, 0},
		"refused": {refused, exitSomeFailed, 1, 1, 1},
		"expired": {expired, exitAllSucceeded, 2, 2, 0},
	} {
		var n atomic.Int64
		p := serve(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); good(w) })
		k := newTask(t, p.pool(1, ""), sampleRequests("r", 2))
		k.out = write(t, "out.jsonl", tc.out)
		for range 2 { // the second run changes nothing
			k.run(tc.exit)
			if out, failed := len(answers(t, k.out)), len(answers(t, k.errors)); out != tc.answers || failed != tc.failures || int(n.Load()) != tc.requests {
				t.Errorf("%s: got %d answers, %d failures, %d requests, want %d, %d, %d", name, out, failed, n.Load(), tc.answers, tc.failures, tc.requests)
			}
		}
	}
}

// When Redis is away after the last answer, the run has succeeded; permits come back by themselves.
func TestBatch_SucceedsWithoutRedisAtTheEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	var stopped sync.Once
	p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		stopped.Do(server.Kill)
		good(w)
	})
	k := newTask(t, p.pool(1, "concurrency: 4\n"), sampleRequests("r", 1))
	k.redis = fmt.Sprintf("redis://%s", server.Addr())
	c := k.start()
	if s := k.finish(c, exitAllSucceeded); s.Succeeded != 1 || !strings.Contains(c.Stderr(), "permits of this process stay taken") {
		t.Errorf("got %+v and\n%s, want an answer and a word on the permits", s, c.Stderr())
	}
}
