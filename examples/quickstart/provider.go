package main

import (
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// The provider's limits, per account. A thousand requests at two accounts take about 14 seconds.
const (
	requestLimit = 108
	tokenLimit   = 9_000
	period       = 3 * time.Second
	concurrency  = 20
)

// revokedKey is revoked in the middle of the run. Its account has another key.
const revokedKey = "k3"

var keys = []struct{ id, secret, account string }{
	{"k1", "sk-demo-1", "org-a"}, {"k2", "sk-demo-2", "org-a"},
	{"k3", "sk-demo-3", "org-b"}, {"k4", "sk-demo-4", "org-b"},
}

// startProvider starts a provider that revokes a key after half of the requests.
func startProvider(requests int) (*apisim.Server, error) {
	var sim *apisim.Server
	started := make(chan struct{})
	cfg := apisim.Config{
		Latency:  apisim.Latency{Min: 30 * time.Millisecond, Max: 120 * time.Millisecond},
		Failures: apisim.Failures{Overloaded: 0.02},
		OnAdmit: func(total int64) {
			if total == int64(requests/2) {
				<-started
				_ = sim.Revoke(revokedKey) // the key exists
			}
		},
	}
	limits := []apisim.Limit{
		{Metric: apisim.Requests, Limit: requestLimit, Per: period}, {Metric: apisim.Tokens, Limit: tokenLimit, Per: period},
	}
	for _, id := range []string{"org-a", "org-b"} {
		a := apisim.Account{ID: id, Limits: limits, Concurrency: concurrency}
		for _, k := range keys {
			if k.account == id {
				a.Keys = append(a.Keys, apisim.Key{ID: k.id, Secret: k.secret})
			}
		}
		cfg.Accounts = append(cfg.Accounts, a)
	}
	var err error
	sim, err = apisim.Start(cfg)
	close(started)
	return sim, err
}
