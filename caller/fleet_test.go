package caller_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// fleet is a provider and the replicas that use it.
type fleet struct {
	sim     *apisim.Server
	callers []*caller.Pool
	clients []*http.Client
	sent    []atomic.Int64 // calls that succeeded, by replica
}

// provider describes accounts with two keys each, secrets "secret-"+ID, and the same limits for all.
func provider(accounts int, limits []apisim.Limit, concurrency int) apisim.Config {
	var cfg apisim.Config
	for a := range accounts {
		id := fmt.Sprintf("org-%d", a)
		account := apisim.Account{ID: id, Limits: limits, Concurrency: concurrency}
		for k := range 2 {
			key := fmt.Sprintf("%s-key-%d", id, k)
			account.Keys = append(account.Keys, apisim.Key{ID: key, Secret: "secret-" + key})
		}
		cfg.Accounts = append(cfg.Accounts, account)
	}
	return cfg
}

// pool is the configuration that fits the provider.
func poolOf(p apisim.Config) caller.Config {
	cfg := caller.Config{
		Name:        "pool",
		Concurrency: p.Accounts[0].Concurrency,
		Retry:       retry.Policy{Attempts: 8, Base: 20 * time.Millisecond},
		Profile:     caller.Profile{Name: "sim", Idempotent: func(*http.Request) bool { return true }, Estimate: estimate},
	}
	for _, a := range p.Accounts {
		for _, k := range a.Keys {
			cfg.Keys = append(cfg.Keys, caller.Key{ID: k.ID, Secret: caller.NewSecret(k.Secret), Account: a.ID})
		}
	}
	for _, l := range p.Accounts[0].Limits {
		cfg.Limits = append(cfg.Limits, caller.Limit{Metric: caller.Metric(l.Metric), Rate: l.Limit, Period: l.Per})
	}
	return cfg
}

func estimate(_ *http.Request, body []byte) caller.Cost {
	tokens, err := apisim.TokenCost(body)
	if err != nil {
		return nil
	}
	return caller.Cost{caller.Tokens: tokens}
}

// start runs a provider and n replicas, each with a Redis client of its own.
func start(t *testing.T, rdb *redis.Client, p apisim.Config, n int, change ...func(*caller.Config)) *fleet {
	t.Helper()
	return startOn(t, func() redis.UniversalClient { return redistest.Another(t, rdb) }, p, n, change...)
}

// startOn does so with any clients.
func startOn(t *testing.T, client func() redis.UniversalClient, p apisim.Config, n int, change ...func(*caller.Config)) *fleet {
	t.Helper()
	sim, err := apisim.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{sim: sim, sent: make([]atomic.Int64, n)}
	t.Cleanup(func() { _ = sim.Close() })
	for range n {
		cfg := poolOf(p)
		for _, c := range change {
			c(&cfg)
		}
		c, err := caller.New(client(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		f.callers = append(f.callers, c)
		client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{ErrorResponses: true})}
		f.clients = append(f.clients, client)
		t.Cleanup(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
			client.CloseIdleConnections()
		})
	}
	return f
}

// post makes one call from a replica.
func (f *fleet) post(ctx context.Context, replica int, id string) error {
	return f.send(ctx, replica, fmt.Appendf(nil,
		`{"model":"m","max_tokens":20,"metadata":{"request_id":%q},"messages":[{"role":"user","content":"Hello, %s"}]}`, id, id))
}

// send makes a call with the given body from a replica.
func (f *fleet) send(ctx context.Context, replica int, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.sim.URL()+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := f.clients[replica].Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if err := caller.ErrorOf(res); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", res.StatusCode, answer)
	}
	f.sent[replica].Add(1)
	return nil
}

// run makes n calls from each replica with the given number of workers, and fails for each that is lost.
func (f *fleet) run(t *testing.T, n, workers int) {
	t.Helper()
	var wg sync.WaitGroup
	for r := range f.callers {
		var next atomic.Int64
		for range workers {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					if err := f.post(t.Context(), r, fmt.Sprintf("call-%d-%d", r, i)); err != nil {
						t.Errorf("replica %d, call %d: got %v, want success", r, i, err)
					}
				}
			})
		}
	}
	wg.Wait()
}
