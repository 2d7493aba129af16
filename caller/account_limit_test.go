package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
)

// An account's weight is its share of the calls, whatever its keys' weights are.
func TestAccount_WeightIsItsShare(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	served := map[string]int{}
	c := join(t, rdb, spread(caller.Account{ID: "a", Weight: 3}, caller.Account{ID: "b"}), func(c *caller.Config) {
		c.Strategy = caller.RoundRobin
		more := in("a", "another key of a")
		more.Weight = 5
		c.Keys = append(c.Keys, more)
	})
	for range 40 {
		_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			served[g.Account]++
			return 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if served["a"] < 28 || served["a"] > 32 {
		t.Errorf("got %v, want three of four calls in a", served)
	}
}

// The error of each mistake in an account names the account and says what to set instead.
func TestAccount_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]caller.Account{
		"Accounts[0] has no ID":                        {},
		`account "x" has no key: name it`:              {ID: "x"},
		`the BaseURL of account "a" isn't a full URL`:  {ID: "a", BaseURL: "api.openai.com"},
		`the BaseURL of account "a" has a user`:        {ID: "a", BaseURL: "https://u:" + canary + "@h"},
		`the Models of account "a" are empty`:          {ID: "a", Models: map[string]string{}},
		`the Header of account "a" has a name`:         {ID: "a", Header: http.Header{"x": {"a\nb"}}},
		`account "a" has the Concurrency -1`:           {ID: "a", Concurrency: -1},
		`the Models of account "a" have one without a`: {ID: "a", Models: map[string]string{"": "x"}},
	} {
		_, err := caller.New(unreachable(t), caller.Config{Name: "p", Keys: []caller.Key{key("a")}, Accounts: []caller.Account{a}})
		if err == nil || !contains(err, want) || contains(err, canary) {
			t.Errorf("got %v, want %q in it and no secret", err, want)
		}
	}
	_, err := caller.New(unreachable(t), caller.Config{
		Name: "p", Keys: []caller.Key{key("a")}, BaseURL: "/v1", Accounts: []caller.Account{{ID: "a"}, {ID: "a"}},
	})
	if err == nil || !contains(err, "BaseURL isn't a full URL") || !contains(err, `account "a" appears twice`) {
		t.Errorf("got %v, want both mistakes", err)
	}
}

// A key whose Authorize fails is taken out of use; the call goes on with another key, and nothing was sent with the first.
func TestAuthorize_FailureIsTheKeys(t *testing.T) {
	t.Parallel()
	for _, body := range []io.Reader{strings.NewReader("{}"), io.MultiReader(strings.NewReader("{}")), nil} {
		server := newRegion(t, nil)
		_, rdb := redistest.Mini(t)
		var failed []caller.Block
		c := join(t, rdb, quick, keys(key("a"), key("b")), func(c *caller.Config) {
			c.Strategy = caller.FirstAvailable
			c.Keys[0].Authorize = func(context.Context, *http.Request) error { return errors.New("no token") }
			c.Keys[1].Secret = caller.Secret{}
			c.Keys[1].Authorize = func(ctx context.Context, r *http.Request) error {
				if g := caller.GrantFrom(ctx); g == nil || g.Key != "b" {
					t.Errorf("got the grant %v in Authorize, want that of b", g)
				}
				r.Header.Set("Authorization", "token of b")
				return nil
			}
			c.Hooks.Disabled = func(_ context.Context, b caller.Block) { failed = append(failed, b) }
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Key", "the client's own")
		res, err := c.Transport(nil, caller.TransportConfig{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		got := server.requests()
		if len(got) != 1 || got[0].auth != "token of b" || got[0].header.Get("Api-Key") != "" || body != nil && got[0].body != "{}" {
			t.Errorf("got %+v, want one request with the token of b and the whole body", got)
		}
		if caller.KeyOf(res) != "b" {
			t.Errorf("got the key %q of the response, want b", caller.KeyOf(res))
		}
		if len(failed) != 1 || failed[0].Key != "a" {
			t.Errorf("got %+v disabled, want the key a", failed)
		}
	}
}

// An Authorize that ends with the call's context says nothing about its key.
func TestAuthorize_EndOfTheCallIsNotTheKeys(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, func(c *caller.Config) {
		c.Keys[0].Authorize = func(ctx context.Context, _ *http.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c.Hooks.Disabled = func(_ context.Context, b caller.Block) { t.Errorf("got %+v disabled, want nothing", b) }
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := c.Transport(nil, caller.TransportConfig{}).RoundTrip(request(t, ctx, http.MethodGet))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	_, err = caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return 0, g.Authorize(ctx, &http.Request{})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Do: got %v, want the context's error", err)
	}
}

// The grant is in the context of base transports and of Do's function, and nowhere else. A response's key is known as long
// as the response, whatever has become of its body.
func TestGrant_IsVisible(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb)
	for _, status := range []int{200, 204, 400} {
		res, err := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
			if g := caller.GrantFrom(r.Context()); g == nil || g.Key != "k" || g.Account != "k" || g.Attempt != 1 {
				t.Errorf("got the grant %v below Transport, want that of k", g)
			}
			res := ok(r)
			res.StatusCode = status
			return res, nil
		}), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodPost))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		res.Body = http.NoBody
		if got := caller.KeyOf(res); got != "k" {
			t.Errorf("%d: got the key %q of the response, want k", status, got)
		}
	}
	_, err := caller.Do(t.Context(), c, nil, func(ctx context.Context, g *caller.Grant) (int, error) {
		if caller.GrantFrom(ctx) != g {
			t.Error("got another grant in Do's context, want its own")
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if caller.GrantFrom(t.Context()) != nil || caller.KeyOf(nil) != "" || caller.KeyOf(&http.Response{}) != "" {
		t.Error("got a grant outside of calls, want none")
	}
}

// An account's own limit and concurrency take the place of those of all; a call that is too large for one account goes to
// another.
func TestAccount_HasItsOwnLimits(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	large := caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Minute}
	small := large
	small.Rate = 100
	c := join(t, rdb, limits(small), concurrency(1), spread(
		caller.Account{ID: "tier1"}, caller.Account{ID: "tier4", Limits: []caller.Limit{large}, Concurrency: 3}))
	for range 2 {
		got, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 400}, func(_ context.Context, g *caller.Grant) (string, error) {
			return g.Account, nil
		})
		if err != nil || got != "tier4" {
			t.Fatalf("got %q, %v, want the call in tier4", got, err)
		}
	}
	if _, err := caller.Do(t.Context(), c, caller.Cost{caller.Tokens: 1001}, nop); !errors.Is(err, caller.ErrNeverFits) {
		t.Errorf("got %v, want ErrNeverFits", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for range 4 {
		hold(t, c)
	}
	if _, err := caller.Do(ctx, c, nil, nop); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v for a fifth call in flight, want a refusal", err)
	}
}
