package caller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
)

// A call of any kind: Do hands the function a key when the limits allow it, and calls it again with another key where
// that helps.
func ExampleDo() {
	server, err := miniredis.Run() // in earnest: your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	c, err := caller.New(rdb, caller.Config{
		Name: "translations",
		Keys: []caller.Key{
			{ID: "key-1", Secret: caller.NewSecret("sk-1")},
			{ID: "key-2", Secret: caller.NewSecret("sk-2")},
		},
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: 500, Period: time.Minute},
			{Metric: caller.Tokens, Rate: 30_000, Period: time.Minute},
		},
		Concurrency: 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cost := caller.Cost{caller.Tokens: 200} // and one request
	text, err := caller.Do(ctx, c, cost, func(_ context.Context, g *caller.Grant) (string, error) {
		if g.Secret() == "sk-1" && g.Attempt == 1 { // as if this key had been revoked
			return "", &caller.StatusError{StatusCode: http.StatusUnauthorized}
		}
		return "guten Tag", nil
	})
	fmt.Println(text, err)

	_, err = caller.Do(ctx, c, caller.Cost{caller.Tokens: 50_000}, func(context.Context, *caller.Grant) (string, error) {
		return "is never called", nil
	})
	fmt.Println(errors.Is(err, caller.ErrNeverFits))
	// Output:
	// guten Tag <nil>
	// true
}

// An http.Client whose every request is a call of the pool.
func ExamplePool_Transport() {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Authorization")
		if key == "Bearer sk-1" {
			w.Header().Set("Retry-After", "30")
			http.Error(w, "slow down", http.StatusTooManyRequests)
			return
		}
		fmt.Fprintf(w, "hello to %s", strings.TrimPrefix(key, "Bearer sk-"))
	}))
	defer provider.Close()
	server, err := miniredis.Run() // in earnest: your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	c, err := caller.New(rdb, caller.Config{
		Name: "greetings",
		Keys: []caller.Key{
			{ID: "first", Secret: caller.NewSecret("sk-1")},
			{ID: "second", Secret: caller.NewSecret("sk-2")},
		},
		Limits: []caller.Limit{{Metric: caller.Requests, Rate: 500, Period: time.Minute}},
		Hooks: caller.Hooks{CooledDown: func(_ context.Context, c caller.Block) {
			fmt.Println(c.Account, "cools down:", c.Reason)
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(context.Background())

	client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}
	defer client.CloseIdleConnections()
	res, err := client.Get(provider.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(body), err)
	// Output:
	// first cools down: 429
	// 200 hello to 2 <nil>
}
