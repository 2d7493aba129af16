package caller_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

const canary = "sk-canary-5f1c9d27e8"

func key(id string) caller.Key {
	return caller.Key{ID: id, Secret: caller.NewSecret("secret of " + id)}
}

func perMinute(n int64) caller.Limit {
	return caller.Limit{Metric: caller.Requests, Rate: n, Period: time.Minute}
}

// The error of each mistake names the field and its value, and says what to set instead.
func TestConfig_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	limit := func(change func(*caller.Limit)) func(*caller.Config) {
		return func(c *caller.Config) {
			l := perMinute(60)
			change(&l)
			c.Limits = []caller.Limit{perMinute(10), l}
			c.Limits[0].Period = time.Hour
		}
	}
	for name, test := range map[string]struct {
		change func(*caller.Config)
		want   string
	}{
		"no pool":       {func(c *caller.Config) { c.Name = "" }, "Name is empty: name"},
		"no keys":       {func(c *caller.Config) { c.Keys = nil }, "Keys is empty: give at least one"},
		"no ID":         {func(c *caller.Config) { c.Keys[1].ID = "" }, "Keys[1] has no ID: give"},
		"ID twice":      {func(c *caller.Config) { c.Keys[1].ID = "a" }, `key "a" appears twice: give`},
		"no secret":     {func(c *caller.Config) { c.Keys[1].Secret = caller.Secret{} }, `key "b" has no Secret`},
		"secret twice":  {func(c *caller.Config) { c.Keys[1].Secret = c.Keys[0].Secret }, "Keys[1] has the Secret of Keys[0]"},
		"secret as ID":  {func(c *caller.Config) { c.Keys[1].ID = canary; c.Keys[1].Secret = caller.NewSecret(canary) }, "use other names"},
		"secret in ID":  {func(c *caller.Config) { c.Keys[1].ID = "x" + canary; c.Keys[1].Secret = caller.NewSecret(canary) }, "use other names"},
		"as account":    {func(c *caller.Config) { c.Keys[1].Account = canary; c.Keys[1].Secret = caller.NewSecret(canary) }, "use other names"},
		"concurrency":   {func(c *caller.Config) { c.Concurrency = -1 }, "Concurrency is -1: use"},
		"jitter":        {func(c *caller.Config) { c.Tuning.ArrivalJitter = -time.Second }, "Tuning.ArrivalJitter is -1s: use 0"},
		"horizon":       {func(c *caller.Config) { c.Tuning.Horizon = -time.Second }, "Tuning.Horizon is -1s: use 0"},
		"TTL":           {func(c *caller.Config) { c.Tuning.SessionTTL = time.Millisecond }, "Tuning.SessionTTL is 1ms: use 0"},
		"retry":         {func(c *caller.Config) { c.Retry.Attempts = -1 }, "Attempts is -1: use"},
		"no metric":     {limit(func(l *caller.Limit) { l.Metric = "" }), `Limits[1]: Metric is "": use`},
		"metric":        {limit(func(l *caller.Limit) { l.Metric = "a b" }), `Limits[1]: Metric is "a b": use`},
		"no limit":      {limit(func(l *caller.Limit) { l.Rate = 0 }), "Limits[1]: Rate of requests is 0: use 1 to"},
		"huge limit":    {limit(func(l *caller.Limit) { l.Rate = math.MaxInt64 }), "Rate of requests is 9223372036854775807: use 1 to"},
		"no period":     {limit(func(l *caller.Limit) { l.Period = 0 }), "Limits[1]: Period of requests is 0s: use more"},
		"burst":         {limit(func(l *caller.Limit) { l.Burst = 61 }), "Limits[1]: Burst of requests is 61: use 1 to 60"},
		"reserved":      {limit(func(l *caller.Limit) { l.Reserved = 1 }), "Limits[1]: Reserved of requests is 1: use 0 to less than 1"},
		"burst above":   {limit(func(l *caller.Limit) { l.Reserved, l.Burst = 0.5, 31 }), "Limits[1]: Burst of requests is 31: use 1 to 30"},
		"below burst":   {limit(func(l *caller.Limit) { l.Burst = -1 }), "Limits[1]: Burst of requests is -1: use"},
		"algorithm":     {limit(func(l *caller.Limit) { l.Algorithm = "leaky" }), `Limits[1]: Algorithm is "leaky": use window, bucket or daily`},
		"limit twice":   {limit(func(l *caller.Limit) { l.Period = time.Hour }), "Limits[1] is another limit on requests per 1h0m0s"},
		"tiny bucket":   {limit(func(l *caller.Limit) { l.Rate, l.Period, l.Algorithm = 1, time.Second, caller.Bucket }), "lower Tuning.ArrivalJitter"},
		"all at a time": {func(c *caller.Config) { c.Name, c.Keys, c.Concurrency, c.Tuning.SessionTTL = "", nil, -1, 1 }, "Name is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := caller.Config{Name: "p", Keys: []caller.Key{key("a"), key("b")}}
			test.change(&cfg)
			_, err := caller.New(unreachable(t), cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "secret of") {
				t.Errorf("got a message with a secret, want none: %v", err)
			}
		})
	}
}

// All mistakes are in one error.
func TestConfig_AllMistakesAreInOneError(t *testing.T) {
	t.Parallel()
	_, err := caller.New(unreachable(t), caller.Config{
		Concurrency: -1, Tuning: caller.Tuning{SessionTTL: 1}, Limits: []caller.Limit{{}}, Retry: retry.Policy{Base: -1},
	})
	for _, want := range []string{"Name", "Keys", "Concurrency", "Tuning.SessionTTL", "Limits[0]", "Base"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := caller.New(nil, caller.Config{}); err == nil || !strings.Contains(err.Error(), "Redis client") {
		t.Errorf("got %v without a client, want an error", err)
	}
}

// A change of the slices of a Config after New has no effect.
func TestConfig_IsCopied(t *testing.T) {
	t.Parallel()
	cfg := caller.Config{Name: "p", Keys: []caller.Key{key("a")}, Limits: []caller.Limit{perMinute(5)}}
	c, err := caller.New(unreachable(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	cfg.Keys[0], cfg.Limits[0] = key("b"), perMinute(0)
	var refused *caller.Error
	if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Requests: 6}, nop); !as(err, &refused) || refused.Limit != 5 {
		t.Errorf("got %v, want a refusal by the limit of 5", err)
	}
}

// unreachable is a client of a Redis that isn't there.
func unreachable(t *testing.T) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
