package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// Lines that can't be sent go to -errors, with their place.
func TestBatch_ReportsBrokenLines(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "", "concurrency: 50")
	good := sampleRequests("r", 10)
	first, _, _ := strings.Cut(good, "\n")
	k := newTask(t, p.pool(1, ""), strings.Join([]string{
		good + "{\"custom_id\": \"torn",
		`{"custom_id":"no-body","method":"POST","url":"/v1/chat/completions"}`,
		`{"method":"POST","url":"/v1/chat/completions","body":{}}`,
		`{"custom_id":"get","method":"GET","url":"/v1/models","body":{}}`,
		`{"custom_id":"elsewhere","method":"POST","url":"https://example.org/steal","body":{}}`,
		`{"custom_id":"elsewhere-2","method":"POST","url":"//example.org/steal","body":{}}`,
		"", first, `[1, 2]`, sampleRequests("s", 10),
	}, "\n"))
	for run := range 2 { // the second run finds the good lines done and refuses the bad lines again
		s := k.run(exitSomeFailed)
		if s.Succeeded+s.Resumed != 20 || s.Resumed != int64(20*run) || s.Failed != 8 || s.left() != 0 {
			t.Errorf("run %d: %+v", run, s)
		}
		if n := len(answers(t, k.out)); n != 20 {
			t.Errorf("run %d: %d answers", run, n)
		}
		text := read(t, k.errors)
		for _, want := range []string{
			"in.jsonl:11: not a request in JSON", "in.jsonl:12: body must be an object", "in.jsonl:13: custom_id is missing",
			`in.jsonl:14: method must be \"POST\"`, "in.jsonl:15: url must be a path", "in.jsonl:16: url must be a path",
			`in.jsonl:18: custom_id \"r-0\" is on an earlier line, too`, "in.jsonl:19: not a request in JSON",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("run %d: %q is missing in\n%s", run, want, text)
			}
		}
		if n := strings.Count(text, "\n"); n != 8 {
			t.Errorf("run %d: %d lines in the errors file", run, n)
		}
	}
}

// A request whose line was torn is asked again.
func TestBatch_AsksAgainAfterATear(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "", "concurrency: 50")
	k := newTask(t, p.pool(1, ""), sampleRequests("r", 50))
	k.run(exitAllSucceeded)
	whole := read(t, k.out)
	for _, cut := range []int{1, 2, 100} { // the line break, the end of the object, half of it
		if err := os.WriteFile(k.out, []byte(whole[:len(whole)-cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		s := k.run(exitAllSucceeded)
		if s.Resumed+s.Succeeded != 50 || s.Resumed < 49 || len(answers(t, k.out)) != 50 {
			t.Errorf("cut by %d: %+v", cut, s)
		}
	}
}

// answering starts a provider whose responses have a status and a body, which may not be JSON.
func answering(t *testing.T, status *atomic.Int64, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "req-7")
		if status.Load() == http.StatusFound {
			w.Header().Set("Location", "http://example.org/steal")
		}
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A refusal for good is kept in -errors; others are asked again in the next run.
func TestBatch_KeepsRefusals(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	const body = "{\n  \"message\": \"no\"\n}\n"
	p := &provider{t, answering(t, &status, body)}
	k := newTask(t, p.pool(1, "retry: {attempts: 2, base: 1ms, max: 2ms}\n"), sampleRequests("r", 3))

	for _, step := range []struct {
		status                              int64
		exit                                int
		succeeded, failed, resumed, written int64
	}{
		{http.StatusInternalServerError, exitSomeFailed, 0, 3, 0, 3}, // sent again by the next run
		{http.StatusFound, exitSomeFailed, 0, 3, 0, 3},               // not followed: another host would get the key
		{http.StatusBadRequest, exitSomeFailed, 0, 3, 0, 3},          // settled
		{http.StatusOK, exitSomeFailed, 0, 0, 3, 3},
	} {
		status.Store(step.status)
		s := k.run(step.exit)
		lines := answers(t, k.errors)
		if s.Succeeded != step.succeeded || s.Failed != step.failed || s.Resumed != step.resumed || int64(len(lines)) != step.written {
			t.Errorf("status %d: %d lines, %+v", step.status, len(lines), s)
		}
		if step.status == http.StatusOK {
			break
		}
		for id, a := range lines {
			if a.Response == nil || int64(a.Response.StatusCode) != step.status || a.Error != nil || a.Response.RequestID != "req-7" ||
				string(a.Response.Body) != `{"message":"no"}` {
				t.Errorf("status %d, %s: %+v %+v", step.status, id, a.Response, a.Error)
			}
		}
	}
}

// An answer that is none is asked again, and fails the request when it stays so.
func TestBatch_FailsWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"a page": "<p>a\nb", "an error": `{"error":{"message":"x"}}`, "a list": `[1]`, "nothing": "", "half": `{"choices":[{"mess`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var status atomic.Int64
			status.Store(http.StatusOK)
			p := &provider{t, answering(t, &status, body)}
			k := newTask(t, p.pool(1, ""), sampleRequests("r", 1))
			k.run(exitSomeFailed, "-patience", "5s")
			a := answers(t, k.errors)["r-0"]
			if a.Response != nil || a.Error == nil || a.Error.Code != noAnswer || read(t, k.out) != "" {
				t.Errorf("got %+v in -errors and %q in -out, want no answer", a, read(t, k.out))
			}
		})
	}
}

// A run without a usable key ends, and a later one continues.
func TestBatch_EndsWithoutKeys(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 2, "", "limits: [{metric: requests, limit: 100, per: 1s}]")
	k := newTask(t, p.pool(2, "limits:\n  - {metric: requests, rate: 100, period: 1s}\n"), sampleRequests("r", 300))
	c := k.start("-workers", "20")
	waitForLines(t, k.out, 50)
	p.order("revoke", `{"key": "k1"}`)
	p.order("revoke", `{"key": "k2"}`)
	s := k.finish(c, exitBroken)
	if s.Failed != 0 || s.left() == 0 || !strings.Contains(c.Stderr(), "no key is usable any more") ||
		!strings.Contains(c.Stderr(), "run the same command again") {
		t.Errorf("%+v\n%s", s, c.Stderr())
	}
	p.order("restore", `{"key": "k1"}`)
	if s := k.run(exitAllSucceeded); s.Resumed+s.Succeeded != 300 || len(answers(t, k.out)) != 300 {
		t.Errorf("run again: %+v", s)
	}
}

// A request above the limit fails alone.
func TestBatch_FailsRequestsAboveTheLimit(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "", "concurrency: 50")
	large := `{"custom_id":"large","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":5000,"messages":[]}}`
	k := newTask(t, p.pool(1, "limits:\n  - {metric: tokens, rate: 1000, period: 1s}\n"), large+"\n"+sampleRequests("r", 2))
	s := k.run(exitSomeFailed)
	if a := answers(t, k.errors)["large"]; s.Succeeded != 2 || s.Failed != 1 || a.Error == nil || a.Error.Code != "exceeds_limit" {
		t.Errorf("%+v %s", s, read(t, k.errors))
	}
}
