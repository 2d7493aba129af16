package scripts

import (
	"context"
	_ "embed"
	"time"
)

//go:embed gcra_clients.lua
var gcraClientsLua string

var gcraClientsScript = newScript("gcra_clients", coreLua, gcraClientsLua)

// GCRAClientsKey is the sorted set of the processes that use rate limits under a prefix.
func GCRAClientsKey(prefix string) string { return "penstock:clients:" + wireName(prefix) }

// GCRAClients registers a process that uses rate limits under the prefix, for at least ttl, and returns how many do.
func GCRAClients(ctx context.Context, client Client, prefix, process string, ttl time.Duration) (int64, error) {
	key := GCRAClientsKey(prefix)
	v, err := gcraClientsScript.ints(ctx, client, []any{"", "", 1, key, process, ttl.Seconds()})
	if err != nil {
		return 0, newError(gcraClientsScript.name, []string{key}, err)
	}
	return v[0], nil
}
