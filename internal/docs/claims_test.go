package docs_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// TestReadme_ConfigurationIsRead reads the README's pool as the batch program would.
func TestReadme_ConfigurationIsRead(t *testing.T) {
	t.Parallel()
	found := blocks(read(t, root+"/README.md"), "yaml")
	if len(found) != 1 {
		t.Fatalf("%d YAML blocks, want 1", len(found))
	}
	_, err := config.Parse("README.md", []byte(found[0]), func(string) (string, bool) { return "secret", true })
	if err != nil {
		t.Error(err)
	}
}

// TestReadme_ACLSuffices does everything that touches Redis as a user with no more permissions than the README says.
func TestReadme_ACLSuffices(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`ACL SETUSER (\S+) .*>(\S+) .*`).FindStringSubmatch(read(t, root+"/README.md"))
	if rule == nil {
		t.Fatal("no ACL in the README")
	}
	server := redistest.Start(t)
	admin := server.Client(t)
	args := []any{}
	for word := range strings.FieldsSeq(rule[0]) {
		args = append(args, word)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	opts := server.Options()
	opts.Username, opts.Password = rule[1], rule[2]
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Run("ratelimit", func(t *testing.T) { useLimiter(ctx, t, rdb) })
	t.Run("caller", func(t *testing.T) { useCaller(ctx, t, rdb) })
	t.Run("concurrency", func(t *testing.T) { useSemaphore(ctx, t, rdb) })
	denied, err := admin.ACLLog(ctx, 10).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range denied {
		if d.Object == "client|setinfo" { // go-redis sends it to servers from 7.2 on, and does without it
			continue
		}
		t.Errorf("denied %s: %s %s", d.Context, d.Reason, d.Object)
	}
}

func useLimiter(ctx context.Context, t *testing.T, rdb *redis.Client) {
	limiter, err := ratelimit.New(rdb, ratelimit.Config{Outage: ratelimit.LocalShare})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := limiter.Allow(ctx, "k", ratelimit.PerSecond(10)); err != nil || res.Allowed != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if err := limiter.WaitN(ctx, "k", ratelimit.PerSecond(100), 10); err != nil {
		t.Error(err)
	}
	if err := limiter.Reset(ctx, "k"); err != nil {
		t.Error(err)
	}
}

func useCaller(ctx context.Context, t *testing.T, rdb *redis.Client) {
	pool, err := caller.New(rdb, caller.Config{
		Name:        "p",
		Keys:        []caller.Key{{ID: "good", Secret: caller.NewSecret("a")}, {ID: "bad", Secret: caller.NewSecret("b")}},
		Limits:      []caller.Limit{{Metric: caller.Requests, Rate: 1000, Period: time.Second}},
		Concurrency: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		_, err := caller.Do(ctx, pool, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			if g.Key == "bad" {
				return 0, verdict{caller.Verdict{Outcome: caller.KeyRejected, Scope: caller.ScopeKey}}
			}
			return 1, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, inspected := pool.Inspect(ctx)
	if err := errors.Join(inspected, pool.Disable(ctx, "good", "test"), pool.Enable(ctx, "good"), pool.Close(ctx)); err != nil {
		t.Error(err)
	}
}

// verdict is an error with a verdict.
type verdict struct{ means caller.Verdict }

func (verdict) Error() string             { return "revoked" }
func (v verdict) Verdict() caller.Verdict { return v.means }

func useSemaphore(ctx context.Context, t *testing.T, rdb *redis.Client) {
	var sems [2]*concurrency.Semaphore
	for i := range sems {
		sem, err := concurrency.New(rdb, concurrency.Config{Name: "s", Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		sems[i] = sem
	}
	held, err := sems[0].Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got *concurrency.Lease
	ended := make(chan error, 1)
	go func() {
		lease, err := sems[1].Acquire(ctx)
		got = lease
		ended <- err
	}()
	for state := new(concurrency.State); len(state.Sessions) < 2; { // until the other waits
		select {
		case err := <-ended:
			t.Fatalf("acquired a permit that was taken: %v", err)
		case <-time.After(time.Millisecond):
		}
		if state, err = sems[0].Inspect(ctx); err != nil {
			t.Fatal(err)
		}
	}
	held.Release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := sems[0].SetLimit(ctx, 2); err != nil {
		t.Error(err)
	}
	if _, err := sems[0].Revoke(ctx, sems[1].Session()); err != nil {
		t.Error(err)
	}
	got.Release()
	for _, sem := range sems {
		if err := sem.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
