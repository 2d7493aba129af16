package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"
)

//go:embed pool_alert.lua
var poolAlertLua string

var poolAlertScript = newScript("pool_alert", coreLua, poolAlertLua)

// PoolAlertsKey is the HASH of the alerts of a pool.
func PoolAlertsKey(pool string) string { return PoolKey(pool) + ":alerts" }

// PoolLease is what a process asks of the lease on sending a pool's alerts.
type PoolLease struct {
	Session string
	For     time.Duration // at most an hour; 0: the session gives the lease back
	Kept    time.Duration // for which the state is kept
	State   string        // the caller's own, stored if the session leads; empty: the stored one stays
}

// LeadPoolAlerts takes or renews the lease, or gives it back. It returns whether the session leads, and the stored state; empty:
// there is none. It may be repeated.
func LeadPoolAlerts(ctx context.Context, c Client, pool string, l PoolLease) (leads bool, state string, err error) {
	keys := []string{PoolAlertsKey(pool)}
	args := []any{wireName(l.Session), decimal(l.For), decimal(l.Kept), l.State}
	v, err := poolAlertScript.run(ctx, c, keys, args)
	if err != nil {
		return false, "", err
	}
	if reply, ok := v.([]any); ok && len(reply) == 2 {
		if state, ok = reply[1].(string); ok {
			return reply[0] == int64(1), state, nil
		}
	}
	return false, "", newError(poolAlertScript.name, keys, fmt.Errorf("unexpected reply %v", v))
}

// decimal writes a duration as seconds.
func decimal(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
