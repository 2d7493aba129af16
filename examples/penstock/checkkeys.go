package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/retry"
)

// cheapPaths are requests that cost nothing, by provider. Others get the base URL itself.
var cheapPaths = map[string]string{
	"openai": "/v1/models", "anthropic": "/v1/models", "gemini": "/v1beta/models", "azure": "/openai/models", "github": "/rate_limit",
	"deepseek": "/models", "groq": "/v1/models", "mistral": "/v1/models", "xai": "/v1/models", "openrouter": "/v1/models",
	"together": "/v1/models", "moonshot": "/v1/models", "cerebras": "/v1/models", "cohere": "/v1/models",
}

// checkKeys sends one cheap request with each key of a configuration. Each key is in a pool of its own, so that what it meets
// changes nothing for the pool's processes.
func checkKeys(ctx context.Context, rdb *redis.Client, file string) []finding {
	cfg, err := config.Load(file)
	if err != nil {
		return []finding{{Check: "keys", Says: err.Error(), Advice: "mend the file in -config"}}
	}
	all := make([]finding, 0, len(cfg.Caller.Keys))
	for i := range cfg.Caller.Keys {
		all = append(all, checkKey(ctx, rdb, cfg, i))
	}
	return all
}

// checkKey sends a request with one key. What it returns has the key's ID and never its secret.
func checkKey(ctx context.Context, rdb *redis.Client, cfg *config.Pool, i int) finding {
	key := cfg.Caller.Keys[i]
	out := finding{Check: "key", Says: key.ID + ": "}
	one := cfg.Caller
	one.Name, one.Keys = cfg.Caller.Name+"-doctor-"+rand.Text(), []caller.Key{key}
	one.Limits, one.Accounts, one.Concurrency, one.Adaptive, one.Hooks = nil, nil, 0, nil, caller.Hooks{}
	for _, a := range cfg.Caller.Accounts {
		if a.ID == key.Account {
			a.Limits, a.Concurrency = nil, 0
			one.Accounts = []caller.Account{a}
		}
	}
	one.Retry = retry.Policy{Attempts: 1}
	pool, err := caller.New(rdb, one)
	if err != nil {
		out.Says += err.Error()
		return out
	}
	defer func() { _ = pool.Close(context.WithoutCancel(ctx)) }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.URL(cheapPaths[cfg.Provider]).String(), http.NoBody)
	if err != nil {
		out.Says += "the base_url makes no request"
		return out
	}
	begun := time.Now()
	client := &http.Client{
		Transport:     pool.Transport(nil, cfg.Transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	status := 0
	if err == nil {
		status = res.StatusCode
		_ = res.Body.Close()
	} else if coded, ok := errors.AsType[interface {
		error
		StatusCode() int
	}](err); ok {
		status = coded.StatusCode()
	}
	took := time.Since(begun).Round(time.Millisecond)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		out.Says += fmt.Sprintf("refused (%d)", status)
		out.Advice = "replace the key, or its rights; a leaked one: penstock disable " + key.ID
	case status == http.StatusTooManyRequests:
		out.OK, out.Says = true, out.Says+"throttled (429), so it is known"
	case status == 0:
		out.Says, out.Advice = out.Says+"no answer from the provider", "check base_url, DNS, proxies and firewalls"
	case status >= http.StatusInternalServerError:
		out.Says, out.Advice = fmt.Sprintf("%sthe provider answers %d", out.Says, status), "try again later"
	default:
		out.OK, out.Says = true, fmt.Sprintf("%sworks (%d in %v)", out.Says, status, took)
	}
	return out
}
