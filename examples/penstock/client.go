package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
)

// timeout bounds each request to Redis or a status page.
const timeout = 5 * time.Second

// client reads and changes a pool, in its Redis or by a status page.
type client struct {
	rdb   redis.UniversalClient // nil: by a status page
	admin *caller.Admin
	url   string
	token string
}

// connect opens the pool that the options name.
func connect(ctx context.Context, f *flags) (*client, error) {
	switch {
	case f.url != "" && f.pool != "":
		return nil, &usageError{"give either -url, or -redis and -pool"}
	case f.url != "":
		return &client{url: strings.TrimSuffix(f.url, "/"), token: f.token}, nil
	case f.redis == "":
		return nil, &usageError{"give -redis with the URL of the pool's Redis, or -url with that of a status page"}
	case f.pool == "":
		return nil, &usageError{"give -pool with the name of the pool"}
	}
	rdb, err := openRedis(f.redis)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	admin, err := caller.OpenAdmin(ctx, rdb, f.pool)
	if err != nil {
		return nil, errors.Join(explain(err), rdb.Close())
	}
	return &client{rdb: rdb, admin: admin}, nil
}

// openRedis returns a client of the Redis at a URL.
func openRedis(url string) (*redis.Client, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("-redis isn't a URL like redis://user:password@host:6379/0: %v", withoutURL(err))}
	}
	opt.DialTimeout, opt.MaxRetries, opt.ContextTimeoutEnabled = timeout, 1, true
	return redis.NewClient(opt), nil
}

// withoutURL returns an error's text without the URL in it, which may hold a password.
func withoutURL(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// explain adds what to do to an error of Redis.
func explain(err error) error {
	text := err.Error()
	for _, known := range []struct{ sign, advice string }{
		{"WRONGPASS", "the user name or password in -redis is wrong"},
		{"NOAUTH", "Redis asks for a password: give redis://:PASSWORD@host"},
		{"NOPERM", "the user in -redis may not do that: see the README for the ACL"},
		{"connection refused", "nothing listens at the address in -redis"},
		{"no such host", "the host in -redis isn't known"},
		{"MOVED", "this is a node of a Redis Cluster: open the page of a replica by -url"},
		{"i/o timeout", "Redis doesn't answer"},
		{"deadline exceeded", "Redis doesn't answer"},
	} {
		if strings.Contains(text, known.sign) {
			return fmt.Errorf("%s: %w", known.advice, err)
		}
	}
	return err
}

func (c *client) close() error {
	if c.rdb == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return errors.Join(c.admin.Close(ctx), c.rdb.Close())
}

// state reads the pool's state.
func (c *client) state(ctx context.Context) (*status.State, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if c.admin != nil {
		s, err := status.Read(ctx, c.admin)
		if err != nil {
			return nil, explain(err)
		}
		return s, nil
	}
	s := &status.State{}
	return s, c.call(ctx, http.MethodGet, "/state.json", nil, s)
}

// change changes a key or account that the pool has.
func (c *client) change(ctx context.Context, change status.Change) error {
	s, err := c.state(ctx)
	if err != nil {
		return err
	}
	if err := exists(s, &change); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if c.admin == nil {
		return c.call(ctx, http.MethodPost, "/change", change, nil)
	}
	switch {
	case change.Action == "disable" && change.Key != "":
		err = c.admin.Disable(ctx, change.Key, change.Reason)
	case change.Action == "disable":
		err = c.admin.DisableAccount(ctx, change.Account, change.Reason)
	case change.Key != "":
		err = c.admin.Enable(ctx, change.Key)
	default:
		err = c.admin.EnableAccount(ctx, change.Account)
	}
	if err != nil {
		return explain(err)
	}
	return nil
}

// exists returns an error that names what there is, if the pool has no such key or account.
func exists(s *status.State, c *status.Change) error {
	var keys, accounts []string
	for _, a := range s.Accounts {
		accounts = append(accounts, a.ID)
		for _, k := range a.Keys {
			keys = append(keys, k.ID)
		}
	}
	switch {
	case c.Key != "" && !slices.Contains(keys, c.Key):
		return &missingError{fmt.Sprintf("pool %q has no key %q, but %s", s.Pool, c.Key, strings.Join(keys, ", "))}
	case c.Account != "" && !slices.Contains(accounts, c.Account):
		return &missingError{fmt.Sprintf("pool %q has no account %q, but %s", s.Pool, c.Account, strings.Join(accounts, ", "))}
	}
	return nil
}

// call makes a request to a status page.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, &body)
	if err != nil {
		return &usageError{fmt.Sprintf("-url: %v", err)}
	}
	req.Header.Set("Content-Type", "application/json")
	if in != nil {
		req.Header.Set("Penstock-Token", c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the status page isn't reached: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		var refusal struct{ Error string }
		_ = json.NewDecoder(res.Body).Decode(&refusal)
		return fmt.Errorf("the status page answers %d: %s", res.StatusCode, refusal.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("-url isn't the address of a status page: %w", err)
	}
	return nil
}
