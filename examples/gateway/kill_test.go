package main

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// When one of two replicas is killed under load, only calls in flight there fail, its permits come back within the session's
// time, and the other carries on.
func TestGateway_SurvivesTheDeathOfAReplica(t *testing.T) {
	t.Parallel()
	sim := simulator(t, 20*time.Millisecond)
	server := redistest.Start(t, redistest.WithTCP())
	file := write(t, "", sim.URL(), "concurrency: 4\ntuning: {session_ttl: 1s}\n")
	args := []string{"-config", file, "-redis", "redis://" + server.Addr()}
	doomed, other := start(t, args...), start(t, args...)
	var stop, killed atomic.Bool
	var answered, failed atomic.Int64 // of the other replica, after the kill
	var all sync.WaitGroup
	for n := range 12 {
		g := []*instance{doomed, other}[n%2]
		all.Go(func() {
			for !stop.Load() {
				after := killed.Load()
				status, _ := get(t, "POST", g.url+"/v1/chat/completions", chat)
				switch {
				case g == doomed && killed.Load():
					return
				case status == http.StatusOK && after:
					answered.Add(1)
				case status != http.StatusOK:
					failed.Add(1)
				}
			}
		})
	}
	testkit.Eventually(t, "both have had calls", func() bool { return sim.Ledger().Admitted() > 40 })
	killed.Store(true)
	doomed.Kill9()
	testkit.Eventually(t, "the other carries on", func() bool { return answered.Load() > 100 })
	stop.Store(true)
	all.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("got %d failures at the other replica, want none", n)
	}
	rdb := server.Client(t)
	testkit.Eventually(t, "all permits are back", func() bool {
		for _, value := range rdb.HGetAll(t.Context(), "penstock:pool:{p}").Val() {
			if heldPermits.MatchString(value) {
				return false
			}
		}
		return true
	})
}
