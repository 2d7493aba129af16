package prom_test

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

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/prom"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// exported is what a registry exports.
type exported map[string]*dto.MetricFamily

func gather(t testing.TB, r prometheus.Gatherer) exported {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := exported{}
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// sum adds up the series of a family that have the labels, given as name and value in turn.
func (e exported) sum(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	f := e[name]
	if f == nil {
		t.Errorf("%s isn't exported", name)
		return -1
	}
	total := 0.0
	for _, m := range f.GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && has[labels[i]] == labels[i+1]
		}
		if fits {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return total
}

// fleet is three Pools of a pool that export by one registry, at a simulated provider.
type fleet struct {
	sim      *apisim.Server
	pools    []*caller.Pool
	registry *prometheus.Registry
	metrics  *prom.Metrics
}

func newFleet(t testing.TB, rdb redis.UniversalClient, cfg prom.Config) *fleet {
	t.Helper()
	f := &fleet{registry: prometheus.NewRegistry()}
	limits := []apisim.Limit{
		{Metric: apisim.Requests, Limit: 100_000, Per: time.Minute}, {Metric: apisim.Tokens, Limit: 10_000_000, Per: time.Minute},
	}
	var err error
	f.sim, err = apisim.Start(apisim.Config{
		Failures: apisim.Failures{Overloaded: 0.05},
		Accounts: []apisim.Account{
			{ID: "org-a", Limits: limits, Keys: []apisim.Key{{ID: "k1", Secret: "sk-canary-1"}}},
			{ID: "org-b", Limits: limits, Keys: []apisim.Key{{ID: "k2", Secret: "sk-canary-2"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.sim.Close() })
	if f.metrics, err = prom.New(cfg); err != nil {
		t.Fatal(err)
	}
	f.registry.MustRegister(f.metrics)
	profile, err := provider.ByName("openai")
	if err != nil {
		t.Fatal(err)
	}
	pool := caller.Config{
		Name: t.Name(), Profile: profile, Hooks: f.metrics.Hooks(t.Name()), Concurrency: 50,
		Keys: []caller.Key{
			{ID: "k1", Account: "org-a", Secret: caller.NewSecret("sk-canary-1")},
			{ID: "k2", Account: "org-b", Secret: caller.NewSecret("sk-canary-2")},
		},
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: 100_000, Period: time.Minute, Burst: 1000},
			{Metric: caller.Tokens, Rate: 10_000_000, Period: time.Minute},
		},
	}
	for i := range 3 {
		pool.Tuning.SessionName = fmt.Sprint("replica-", i)
		c, err := caller.New(rdb, pool)
		if err != nil {
			t.Fatal(err)
		}
		f.pools = append(f.pools, c)
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	}
	return f
}

const body = `{"model":"gpt-4o-mini","max_tokens":20,"messages":[{"role":"user","content":"What is a penstock?"}]}`

// run sends requests, and returns how many succeeded.
func (f *fleet) run(t testing.TB, requests int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ok atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		client := &http.Client{Transport: f.pools[i%len(f.pools)].Transport(nil, caller.TransportConfig{})}
		all.Go(func() {
			for n := i; n < requests; n += 12 {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.sim.URL()+"/v1/chat/completions", bytes.NewReader([]byte(body)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-Client-Request-Id", fmt.Sprint("call-", n))
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, res.Body); err == nil && res.StatusCode == http.StatusOK {
					ok.Add(1)
				}
				_ = res.Body.Close()
			}
		})
	}
	all.Wait()
	return ok.Load()
}
