package main

import (
	_ "embed"
	"fmt"
	"net/url"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/internal/apisim"
)

//go:embed demo.yaml
var demoConfig []byte

// demoKey is the value of environment variables that -demo finds unset.
const demoKey = "sk-demo-not-a-secret"

// simulate starts a provider with the keys and limits of the pools, and lets the pools go there.
func simulate(pools []*config.Pool) (*apisim.Server, error) {
	cfg := apisim.Config{Latency: apisim.Latency{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond}}
	accounts := map[string]int{}
	secrets := map[string]bool{}
	for _, p := range pools {
		for _, k := range p.Caller.Keys {
			name := k.Account
			if name == "" {
				name = k.ID
			}
			name = p.Caller.Name + "/" + name
			at, ok := accounts[name]
			if !ok {
				at = len(cfg.Accounts)
				accounts[name] = at
				cfg.Accounts = append(cfg.Accounts, apisim.Account{ID: name, Limits: limitsOf(p), Concurrency: p.Caller.Concurrency})
			}
			secret := k.Secret.Reveal()
			if secrets[secret] {
				return nil, fmt.Errorf("-demo: key %s of pool %s has the secret of another key; give it one of its own", k.ID, p.Caller.Name)
			}
			secrets[secret] = true
			cfg.Accounts[at].Keys = append(cfg.Accounts[at].Keys, apisim.Key{ID: p.Caller.Name + "/" + k.ID, Secret: secret})
		}
	}
	sim, err := apisim.Start(cfg)
	if err != nil {
		return nil, err
	}
	return sim, point(pools, sim)
}

// point lets the pools send to the simulated provider.
func point(pools []*config.Pool, sim *apisim.Server) error {
	u, err := url.Parse(sim.URL())
	for _, p := range pools {
		p.BaseURL = u
	}
	return err
}

// limitsOf returns a pool's limits as the simulator can have them.
func limitsOf(p *config.Pool) []apisim.Limit {
	var all []apisim.Limit
	for _, l := range p.Caller.Limits {
		if l.Algorithm != caller.Daily && (l.Metric == caller.Requests || l.Metric == caller.Tokens) && len(l.Models) == 0 {
			all = append(all, apisim.Limit{Metric: apisim.Metric(l.Metric), Limit: l.Rate, Per: l.Period})
		}
	}
	return all
}
