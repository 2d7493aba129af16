package recorder_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/recorder"
	"github.com/penstock/penstock/internal/apisim"
)

const body = `{"model":"m","max_tokens":20,"messages":[{"role":"user","content":"Hello"}]}`

// start returns a recorder in front of a provider with one account of two requests an hour.
func start(t *testing.T) *recorder.Recorder {
	t.Helper()
	sim, err := apisim.Start(apisim.Config{Accounts: []apisim.Account{{
		ID: "org", Keys: []apisim.Key{{ID: "k", Secret: "sk-sim-1"}},
		Limits: []apisim.Limit{{Metric: apisim.Requests, Limit: 2, Per: time.Hour}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	r, err := recorder.Start(recorder.Config{
		Upstream: sim.URL(), Keys: map[string]recorder.Key{"sk-sim-1": {ID: "k", Account: "org"}}, Origin: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// post makes one attempt. It returns the status, what arrived of the body, and the error on the way.
func post(t *testing.T, r *recorder.Recorder, id string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL()+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = nil // net/http would repeat it after a reset
	req.Header.Set("Authorization", "Bearer sk-sim-1")
	req.Header.Set("Idempotency-Key", id)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Every attempt is in the record with its account, cost, status and reason.
func TestRecorder_RecordsEveryAttempt(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, id := range []string{"a", "b", "c"} {
		if _, text, err := post(t, r, id); err != nil || text == "" {
			t.Fatalf("got %q, %v; want an answer", text, err)
		}
	}
	all := r.Attempts()
	if len(all) != 3 {
		t.Fatalf("got %d attempts, want 3", len(all))
	}
	first, last := all[0], all[2]
	if first.ID != "a" || first.Key != "k" || first.Account != "org" || first.Tokens != 20 || !first.Whole || first.End < first.Begin {
		t.Errorf("got %+v, want call a of 20 tokens on org, answered as a whole", first)
	}
	if last.Status != 429 || last.Reason != "requests" || last.Whole || last.Broken {
		t.Errorf("got %+v, want a 429 about requests", last)
	}
}

// Each mood breaks attempts in its way, and the record says so.
func TestRecorder_BreaksAttemptsByMood(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mood   recorder.Kind
		status int
		whole  bool
		broken bool
		failed bool
	}{
		{recorder.Sound, 200, true, false, false},
		{recorder.Storm, 429, false, false, false},
		{recorder.Cut, 0, false, true, true},
		{recorder.Half, 200, false, true, true},
		{recorder.Slow, 200, true, false, false},
	} {
		t.Run(string(test.mood), func(t *testing.T) {
			t.Parallel()
			r := start(t)
			r.SetMood(recorder.Mood{Kind: test.mood, Share: 1, Delay: time.Millisecond})
			status, _, err := post(t, r, "a")
			got := r.Attempts()[0]
			if (err != nil) != test.failed || status != test.status || got.Whole != test.whole || got.Broken != test.broken {
				t.Errorf("got status %d, error %v, %+v; want %+v", status, err, got, test)
			}
		})
	}
}

// A mute recorder answers nothing until its mood ends, and then resets what it holds.
func TestRecorder_MuteEndsWithTheMood(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.SetMood(recorder.Mood{Kind: recorder.Mute, Share: 1})
	ended := make(chan error, 1)
	go func() {
		_, _, err := post(t, r, "a")
		ended <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); len(r.Attempts()) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("got %v while mute, want no end", err)
	case <-time.After(20 * time.Millisecond):
	}
	r.SetMood(recorder.Mood{})
	if err := <-ended; err == nil || !r.Attempts()[0].Broken {
		t.Errorf("got %v, %+v; want an error and a broken attempt", err, r.Attempts()[0])
	}
}

// A mood of half the attempts meets every second one.
func TestRecorder_MoodMeetsItsShare(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.SetMood(recorder.Mood{Kind: recorder.Storm, Share: 0.5})
	storms := 0
	for range 4 {
		_, _, _ = post(t, r, "a")
	}
	for _, a := range r.Attempts() {
		if a.Reason == "storm" {
			storms++
		}
	}
	if storms != 2 {
		t.Errorf("got %d storms among 4 attempts, want 2", storms)
	}
}
