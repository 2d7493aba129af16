package alert

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// switched is a fleet that a test makes ill.
type switched struct{ ill atomic.Bool }

func (s *switched) Fleet(context.Context) (*caller.Fleet, error) {
	f := quiet(time.Now())
	if s.ill.Load() {
		f.Limits[0].Used = 1000
	}
	return f, nil
}

// On a real Redis, one of three replicas sends. Another one takes over what the first knew when that dies, and again after
// Redis has lost everything.
func TestAlerter_TakesOver(t *testing.T) {
	server := redistest.Start(t)
	got := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var v struct{ Status string }
		_ = json.NewDecoder(r.Body).Decode(&v)
		got <- v.Status
	}))
	t.Cleanup(hook.Close)
	source := &switched{}
	type part struct {
		a    *Alerter
		rdb  redis.UniversalClient
		stop context.CancelFunc
	}
	var parts []part
	var running sync.WaitGroup
	for range 3 {
		rdb := server.Client(t)
		a, err := New(rdb, "prod", source, Config{Receivers: []Receiver{{Kind: Webhook, URL: caller.NewSecret(hook.URL)}}})
		if err != nil {
			t.Fatal(err)
		}
		a.every, a.lease = 20*time.Millisecond, 2*time.Second
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() {
			if err := a.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: got %v, want the cause of its context's end", err)
			}
		})
		parts = append(parts, part{a, rdb, stop})
	}
	rdb := server.Client(t)
	leader := func() int {
		name, _ := rdb.HGet(testkit.Context(t), "penstock:pool:{prod}:alerts", "leader").Result()
		for i := range parts {
			if parts[i].a != nil && parts[i].a.session == name {
				return i
			}
		}
		return -1
	}
	testkit.Eventually(t, "a sender", func() bool { return leader() >= 0 })
	source.ill.Store(true)
	if s := testkit.Receive(t, "the alert", got); s != "firing" {
		t.Errorf("got %s, want firing", s)
	}
	first := leader()
	parts[first].stop() // and it gives the lease back
	parts[first].a = nil
	testkit.Eventually(t, "another sender", func() bool { return leader() >= 0 })
	field := func(name string) string {
		text, _ := rdb.HGet(testkit.Context(t), "penstock:pool:{prod}:alerts", name).Result()
		return text
	}
	// A turn stores the state, and so renews the lease, twice. At the third renewal the first turn is over.
	for range 3 {
		till := field("till")
		testkit.Eventually(t, "a turn of the other sender", func() bool { return field("till") != till })
	}
	if err := rdb.FlushAll(testkit.Context(t)).Err(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a sender after FLUSHALL", func() bool { return leader() >= 0 && field("state") != "" })
	source.ill.Store(false)
	if s := testkit.Receive(t, "the end", got); s != "resolved" {
		t.Errorf("got %s, want resolved", s)
	}
	for _, p := range parts {
		p.stop()
	}
	running.Wait()
	if len(got) > 0 {
		t.Errorf("got %s besides, want one alert and one end", <-got)
	}
}
