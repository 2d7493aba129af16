package caller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/scripts"
)

// ErrNoPool: Redis has no process's report of the pool.
var ErrNoPool = errors.New("no process has reported to this pool in the last 15 minutes: " +
	"check the pool's name, the Redis URL and its database")

// Admin looks at a pool and operates it, without the pool's keys and without making calls. It is safe for concurrent use.
type Admin struct{ pool *Pool }

// OpenAdmin returns an Admin for the pool of a name in the Redis of rdb. It reads what the pool's processes report of their
// configuration, and fails with ErrNoPool if there is none. Close ends the Admin. What only reads needs the Redis commands
// TIME and HGETALL on the pool's keys.
func OpenAdmin(ctx context.Context, rdb redis.UniversalClient, name string) (*Admin, error) {
	if rdb == nil {
		return nil, errors.New("caller: OpenAdmin needs a Redis client")
	}
	if name == "" {
		return nil, errors.New("caller: OpenAdmin needs the name of a pool")
	}
	all, configs, err := scripts.ReadPoolSummaries(ctx, rdb, name)
	if err != nil {
		return nil, &Error{Pool: name, Err: err}
	}
	known := make([]summary, 0, len(all))
	for _, s := range all {
		if configs[s.Digest] != "" {
			known = append(known, summary{age: min(s.Age, replicaGone-1), digest: s.Digest})
		}
	}
	if len(known) == 0 {
		return nil, &Error{Pool: name, Err: ErrNoPool}
	}
	var published publishedConfig
	if err := json.Unmarshal([]byte(configs[mostCommon(known)]), &published); err != nil {
		return nil, &Error{Pool: name, Err: fmt.Errorf("the configuration that its processes report: %w", err)}
	}
	cfg, err := published.config(name)
	if err != nil {
		return nil, &Error{Pool: name, Err: err}
	}
	cfg.Tuning.SessionName = "admin"
	pool, err := New(rdb, cfg)
	if err != nil {
		return nil, err
	}
	return &Admin{pool}, nil
}

// Fleet reads from Redis what all processes of the pool report. It changes nothing.
func (a *Admin) Fleet(ctx context.Context) (*Fleet, error) { return a.pool.Fleet(ctx) }

// Disable takes a key out of use: see Pool.Disable.
func (a *Admin) Disable(ctx context.Context, key, reason string) error {
	return a.pool.Disable(ctx, key, reason)
}

// Enable puts a key back into use: see Pool.Enable.
func (a *Admin) Enable(ctx context.Context, key string) error { return a.pool.Enable(ctx, key) }

// DisableAccount takes an account out of use: see Pool.DisableAccount.
func (a *Admin) DisableAccount(ctx context.Context, account, reason string) error {
	return a.pool.DisableAccount(ctx, account, reason)
}

// EnableAccount puts an account back into use: see Pool.EnableAccount.
func (a *Admin) EnableAccount(ctx context.Context, account string) error {
	return a.pool.EnableAccount(ctx, account)
}

// Close ends the Admin.
func (a *Admin) Close(ctx context.Context) error { return a.pool.Close(ctx) }

// DisableAccount takes an account with all its keys out of use in all processes until EnableAccount. It returns when Redis
// has confirmed it. Calls that have been admitted go on. Inspect and ErrNoKeys show the reason.
func (c *Pool) DisableAccount(ctx context.Context, account, reason string) error {
	b := admission.Block{Account: account, For: operatorFor, Disabled: true, Reason: reason}
	return c.instructed(account, c.admission.Block(ctx, b))
}
