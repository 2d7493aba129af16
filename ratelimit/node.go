package ratelimit

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// node is one Redis server, as far as the client shows which server holds a key.
type node struct {
	clock   scripts.Clock
	circuit circuit
	history history
}

// serverNow returns the earliest time that Redis' clock can show now, in seconds since 2017; 0 before the first reply.
func (n *node) serverNow() float64 {
	us, _ := n.clock.Server(time.Now())
	return float64(us) / 1e6
}

// nodes finds the node of a key. A client that doesn't show its nodes counts as one node.
type nodes struct {
	only   node // of a single server, and of keys whose node isn't known
	lookup func(ctx context.Context, key string) (*redis.Client, error)
	local  bool        // lookup does no I/O
	ready  atomic.Bool // lookup has succeeded, and does no I/O from now on
	byAddr sync.Map    // address of a server to its *node
}

// ringClient is *redis.Ring, or a client that wraps one.
type ringClient interface {
	GetShardClientForKey(key string) (*redis.Client, error)
}

// clusterClient is *redis.ClusterClient, or a client that wraps one.
type clusterClient interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
}

// init prepares the lookup for the client.
func (n *nodes) init(client Client) {
	switch c := client.(type) {
	case clusterClient:
		n.lookup = c.MasterForKey
	case ringClient:
		n.lookup = func(_ context.Context, key string) (*redis.Client, error) { return c.GetShardClientForKey(key) }
		n.local = true
	}
}

// of returns the node of a key without I/O.
func (n *nodes) of(key string) *node {
	if n.lookup == nil || !n.local && !n.ready.Load() {
		return &n.only
	}
	return n.find(context.Background(), key)
}

// server returns a client of the node of a key; nil if the client doesn't show its nodes.
func (n *nodes) server(ctx context.Context, client Client, key string) Client {
	if n.lookup == nil {
		single, _ := client.(*redis.Client)
		if single == nil {
			return nil
		}
		return single
	}
	if !n.local && !n.ready.Load() {
		return nil
	}
	found, err := n.lookup(ctx, key)
	if err != nil {
		return nil
	}
	return found
}

// load reads the cluster's slots, once, so that later lookups do no I/O. It may take as long as a script call.
func (n *nodes) load(ctx context.Context, key string) {
	if n.lookup == nil || n.local || n.ready.Load() {
		return
	}
	if _, err := n.lookup(ctx, key); err == nil {
		n.ready.Store(true)
	}
}

func (n *nodes) find(ctx context.Context, key string) *node {
	client, err := n.lookup(ctx, key)
	if err != nil {
		return &n.only
	}
	addr := client.Options().Addr
	if found, ok := n.byAddr.Load(addr); ok {
		return found.(*node)
	}
	found, _ := n.byAddr.LoadOrStore(addr, new(node))
	return found.(*node)
}

// serverNow returns the earliest time that the clock of any node can show now, in seconds since 2017; 0 if there was no
// reply yet.
func (n *nodes) serverNow() float64 {
	earliest := n.only.serverNow()
	n.byAddr.Range(func(_, found any) bool {
		if t := found.(*node).serverNow(); t > 0 && (t < earliest || earliest == 0) {
			earliest = t
		}
		return true
	})
	return earliest
}

// isNil reports whether the client is nil, or a nil pointer.
func isNil(client Client) bool {
	if client == nil {
		return true
	}
	v := reflect.ValueOf(client)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// hashTag returns the part of a key that determines its node: the text between the first '{' and the next '}'. If that is
// empty or missing, it returns the whole key.
func hashTag(key string) string {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			return key[i+1 : i+1+j]
		}
	}
	return key
}
