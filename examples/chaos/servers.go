package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/examples/internal/relay"
	"github.com/penstock/penstock/internal/redistest"
)

// address is how a process reaches Redis.
type address struct {
	Addrs      []string
	MasterName string
	Cluster    bool
}

// connect returns a client.
func (a address) connect() redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: a.Addrs, MasterName: a.MasterName, IsClusterMode: a.Cluster, ContextTimeoutEnabled: true,
	})
}

// servers are the Redis servers of a run.
type servers struct {
	t        testing.TB
	pool     string
	single   *redistest.Server
	relay    *relay.Relay
	admin    *redis.Client // of single
	aof      string        // folder of single's append-only files
	sentinel *redistest.Sentinel
	cluster  *redistest.Cluster
}

func startServers(t testing.TB, which, pool string) *servers {
	s := &servers{t: t, pool: pool}
	switch which {
	case sentinel:
		s.sentinel = redistest.StartSentinel(t, 1)
	case cluster:
		s.cluster = redistest.StartCluster(t, 1)
	default:
		s.startSingle()
	}
	return s
}

func (s *servers) startSingle() {
	s.single = redistest.Start(s.t, redistest.WithTCP(), redistest.WithArgs(
		"--appendonly", "yes", "--appendfsync", "everysec", "--lua-time-limit", "50", "--enable-debug-command", "yes"))
	s.admin = s.single.Client(s.t)
	settings, err := s.admin.ConfigGet(s.t.Context(), "*dir*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	s.aof = filepath.Join(settings["dir"], settings["appenddirname"])
	if s.relay, err = relay.Start(s.single.Addr()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.relay.Close)
}

// forWorkers is how workers reach Redis: through the relay where there is one.
func (s *servers) forWorkers() address {
	switch {
	case s.sentinel != nil:
		return address{Addrs: s.sentinel.Options().SentinelAddrs, MasterName: s.sentinel.Options().MasterName}
	case s.cluster != nil:
		return address{Addrs: s.cluster.Options().Addrs, Cluster: true}
	default:
		return address{Addrs: []string{s.relay.Addr()}}
	}
}

// operator returns a client that reaches Redis directly.
func (s *servers) operator(t testing.TB) redis.UniversalClient {
	a := s.forWorkers()
	if s.single != nil {
		a.Addrs = []string{s.single.Addr()}
	}
	rdb := a.connect()
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// master returns the server that has the pool's state.
func (s *servers) master() *redistest.Server {
	if s.sentinel != nil {
		return s.sentinel.Master()
	}
	return s.cluster.Owner(s.slot())
}

// slot returns the slot of the pool's key.
func (s *servers) slot() int { return s.cluster.Slot(s.key()) }

// key returns the pool's key.
func (s *servers) key() string {
	ctx := context.WithoutCancel(s.t.Context())
	for _, node := range s.cluster.Nodes {
		keys, err := node.Client(s.t).Keys(ctx, "*"+s.pool+"*").Result()
		if err == nil && len(keys) > 0 && strings.Contains(keys[0], s.pool) {
			return keys[0]
		}
	}
	s.t.Fatal("no server has the pool's key")
	return ""
}
