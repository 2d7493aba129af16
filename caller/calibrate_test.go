package caller_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
)

// prompt returns a request's body whose prompt has a number of tokens, as the provider counts them.
func prompt(id string, tokens int) []byte {
	return fmt.Appendf(nil, `{"model":"m","metadata":{"request_id":%q},"messages":[{"role":"user","content":%q}]}`,
		id, strings.Repeat("four", tokens))
}

// guessing changes the profile to one that estimates a prompt at factor times its tokens, and calibrates.
func guessing(factor float64, settled ...caller.Metric) func(*caller.Config) {
	return func(cfg *caller.Config) {
		cfg.Profile.Estimate = func(_ *http.Request, body []byte) caller.Cost {
			tokens, _ := apisim.TokenCost(body)
			n := int64(math.Ceil(factor * float64(tokens)))
			return caller.Cost{caller.InputTokens: n, caller.Tokens: n}
		}
		cfg.Profile.Model = profiles.OpenAI().Model
		cfg.Profile.Usage = func(data []byte) caller.Cost {
			used := profiles.OpenAI().Usage(data)
			if used != nil { // the simulated provider charges the prompt only
				used[caller.Tokens] = used[caller.InputTokens]
			}
			return used
		}
		cfg.Profile.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
		cfg.Profile.Settled = settled
	}
}

// If estimates are half or twice the truth, a few responses of a model correct them. No limit is exceeded then.
func TestCalibration_CorrectsAWrongEstimate(t *testing.T) {
	for name, test := range map[string]struct {
		factor  float64
		settled []caller.Metric
	}{
		"half":  {0.5, nil},
		"twice": {2, []caller.Metric{caller.Tokens}},
	} {
		t.Run(name, func(t *testing.T) {
			const limit, per = 20_000, 2 * time.Second
			p := provider(1, []apisim.Limit{{Metric: apisim.Tokens, Limit: limit, Per: per}}, 0)
			p.Latency = apisim.Latency{Min: 2 * time.Millisecond, Max: 20 * time.Millisecond}
			var worst atomic.Uint64 // largest relative error of an estimate above 40 tokens, as bits of a float64
			f := start(t, redistest.Client(t), p, 2, roomy, guessing(test.factor, test.settled...), func(cfg *caller.Config) {
				cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) {
					if actual := float64(u.Actual[caller.Tokens]); actual > 40 {
						off := math.Float64bits(math.Abs(float64(u.Estimated[caller.Tokens])/actual - 1))
						for old := worst.Load(); off > old && !worst.CompareAndSwap(old, off); old = worst.Load() {
						}
					}
				}
			})
			for r := range f.callers {
				for i := range 20 {
					if err := f.send(t.Context(), r, prompt(fmt.Sprintf("small-%d-%d", r, i), 10)); err != nil {
						t.Fatal(err)
					}
				}
				if got := f.callers[r].Stats().PromptRatios["m"]; math.Abs(got*test.factor-1) > 0.01 {
					t.Errorf("replica %d: got the ratio %v for estimates of %v times the truth, want %v", r, got, test.factor, 1/test.factor)
				}
			}
			done := make(chan struct{})
			time.AfterFunc(3*time.Second, func() { close(done) })
			f.until(t.Context(), t, done, 40, func(r, w, i int) []byte { return prompt(fmt.Sprintf("call-%d-%d-%d", r, w, i), 50+10*(w%10)) })
			f.check(t)
			if off := math.Float64frombits(worst.Load()); off > 0.05 {
				t.Errorf("got an estimate that is %.0f %% off the usage, want at most 5 %% off", 100*off)
			}
		})
	}
}

// until makes calls with the given bodies from each replica until done is closed.
func (f *fleet) until(ctx context.Context, t *testing.T, done <-chan struct{}, workers int, body func(replica, worker, call int) []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for r := range f.callers {
		for w := range workers {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					err := f.send(ctx, r, body(r, w, i))
					if ctx.Err() != nil {
						return
					}
					if err != nil {
						t.Errorf("replica %d: got %v, want success", r, err)
					}
				}
			})
		}
	}
	wg.Wait()
}

// The cost given to Do is charged as it is, unless Options.Estimated is set. The hook reports the ratio.
func TestDo_IsCalibratedOnlyOnRequest(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var last caller.Usage
	c := join(t, rdb, limits(caller.Limit{Metric: caller.Tokens, Rate: 1_000_000, Period: time.Second}), func(cfg *caller.Config) {
		cfg.Profile.Calibrated = []caller.Metric{caller.Tokens}
		cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) { last = u }
	})
	one := func(estimated bool) {
		t.Helper()
		ctx := caller.WithOptions(t.Context(), caller.Options{Model: "m", Estimated: estimated})
		cost := caller.Cost{caller.InputTokens: 100, caller.Tokens: 150}
		_, err := caller.Do(ctx, c, cost, func(_ context.Context, g *caller.Grant) (int, error) {
			g.Settle(caller.Cost{caller.InputTokens: 300})
			return 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 30 {
		one(false)
	}
	if last.Ratio != 1 || last.Estimated[caller.Tokens] != 150 {
		t.Errorf("got %+v without Estimated, want the given 150 tokens", last)
	}
	for range 30 {
		one(true)
	}
	if math.Abs(last.Ratio-3) > 0.01 || last.Estimated[caller.Tokens] < 348 || last.Estimated[caller.Tokens] > 351 {
		t.Errorf("got %+v, want the ratio 3 and about 350 tokens", last)
	}
	one(false)
	if last.Estimated[caller.Tokens] != 150 {
		t.Errorf("got %+v without Estimated, want the given 150 tokens", last)
	}
}
