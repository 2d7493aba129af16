// Package report counts the attempts of an example, and shows progress and a summary.
package report

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/penstock/penstock/caller"
)

// Tally counts attempts and their costs. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	latency   *hdrhistogram.Histogram // microseconds
	attempts  int64
	retries   int64
	throttled int64
	busy      time.Duration
	keys      map[string]*Key
	failures  map[string]int64
	charged   caller.Cost
}

// Key has the figures of one key.
type Key struct {
	ID, Account        string
	Attempts, Answered int64 // attempts, and those that succeeded
	State              string
}

// NewTally returns a Tally that lists the keys, also those without attempts.
func NewTally(keys []caller.Key) *Tally {
	t := &Tally{
		latency: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3),
		keys:    make(map[string]*Key), failures: make(map[string]int64), charged: make(caller.Cost),
	}
	for _, k := range keys {
		t.key(k.ID, k.Account)
	}
	return t
}

// Hooks returns the hooks by which a caller.Config reports its attempts to the Tally.
func (t *Tally) Hooks() caller.Hooks {
	return caller.Hooks{Attempted: t.attempted, Disabled: t.disabled}
}

// Charge adds the cost of a request by a profile's estimate. It doesn't change the request.
func (t *Tally) Charge(r *http.Request, estimate func(*http.Request, []byte) caller.Cost) {
	var cost caller.Cost
	if estimate != nil && r.GetBody != nil {
		if body, err := r.GetBody(); err == nil {
			text, _ := io.ReadAll(body) // from memory
			cost = estimate(r, text)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.charged[caller.Requests] += max(cost[caller.Requests], 1)
	for metric, n := range cost {
		if metric != caller.Requests {
			t.charged[metric] += n
		}
	}
}

func (t *Tally) attempted(_ context.Context, a caller.Attempt) {
	if a.Key == "" { // nothing was sent
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.key(a.Key, a.Account)
	k.Attempts++
	t.attempts++
	t.busy += a.Latency
	if a.Retrying {
		t.retries++
	}
	if a.Verdict.Outcome == caller.Throttled || a.Status == 429 {
		t.throttled++
	}
	if a.Verdict.Outcome == caller.Success {
		k.Answered++
		_ = t.latency.RecordValue(min(a.Latency.Microseconds(), t.latency.HighestTrackableValue())) // in range
		return
	}
	t.failures[kind(a)]++
}

func (t *Tally) disabled(_ context.Context, c caller.Block) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.keys {
		if k.ID == c.Key || c.Key == "" && k.Account == c.Account {
			k.State = "disabled"
			if c.Reason != "" {
				k.State += ": " + c.Reason
			}
		}
	}
}

// Retries returns the number of attempts that another one followed.
func (t *Tally) Retries() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.retries
}

// Failures returns the number of failed attempts by kind.
func (t *Tally) Failures() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.failures)
}

func (t *Tally) key(id, account string) *Key {
	k := t.keys[id]
	if k == nil {
		if account == "" {
			account = id
		}
		k = &Key{ID: id, Account: account}
		t.keys[id] = k
	}
	return k
}

// kind returns the kind of a failed attempt, such as "503 overloaded".
func kind(a caller.Attempt) string {
	if a.Status == 0 {
		return a.Verdict.Outcome.String() + ", no response"
	}
	return fmt.Sprintf("%d %s", a.Status, a.Verdict.Outcome)
}
