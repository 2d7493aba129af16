package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// masterName is what the sentinels call the master.
const masterName = "main"

// Sentinel is a master with replicas under the watch of three sentinels, that a test has for itself. Its methods are
// for one goroutine at a time; clients of it may be used from any.
type Sentinel struct {
	t testing.TB
	// Nodes are the data servers: first the one that began as the master.
	Nodes []*Server
	// Sentinels are the watchers.
	Sentinels []*Server
}

// StartSentinel starts a master with so many replicas, at least one, and returns when the sentinels know all of them
// and each other. Without redis-server the test is skipped, or fails if CI is set.
func StartSentinel(t testing.TB, replicas int) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	quick := WithArgs("--repl-diskless-sync-delay", "0")
	master := Start(t, WithTCP(), quick)
	s.Nodes = append(s.Nodes, master)
	for range max(1, replicas) {
		s.Nodes = append(s.Nodes, Start(t, WithTCP(), quick, WithArgs("--replicaof", "127.0.0.1", strconv.Itoa(master.port))))
	}
	for _, replica := range s.Nodes[1:] {
		rdb := replica.Client(t)
		eventually(t, "the replica is in sync", func() error {
			info, err := rdb.Info(t.Context(), "replication").Result()
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = fmt.Errorf("replication: %s", info)
			}
			return err
		})
	}
	const sentinels = 3
	for range sentinels {
		s.watch(master)
	}
	for _, w := range s.Sentinels {
		rdb := s.sentinel(t, w)
		eventually(t, "the sentinels know each other and the replicas", func() error { return s.informed(rdb) })
	}
	return s
}

// informed returns an error until a sentinel has all data that it needs for a failover.
func (s *Sentinel) informed(rdb *redis.SentinelClient) error {
	ctx := s.t.Context()
	others, err := rdb.Sentinels(ctx, masterName).Result()
	if err != nil {
		return err
	}
	replicas, err := rdb.Replicas(ctx, masterName).Result()
	if err != nil {
		return err
	}
	if len(others) != len(s.Sentinels)-1 || len(replicas) != len(s.Nodes)-1 {
		return fmt.Errorf("a sentinel knows %d others and %d replicas", len(others), len(replicas))
	}
	for _, r := range replicas {
		if r["flags"] != "slave" || r["master-link-status"] != "ok" {
			return fmt.Errorf("a sentinel knows a replica as %v", r)
		}
	}
	return nil
}

// watch starts one sentinel.
func (s *Sentinel) watch(master *Server) {
	s.t.Helper()
	w := Start(s.t, WithTCP(), func(set *settings) {
		set.sentinel = strings.Join([]string{
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", masterName, master.port),
			"sentinel down-after-milliseconds " + masterName + " 500",
			"sentinel failover-timeout " + masterName + " 1000",
			"",
		}, "\n")
	})
	s.Sentinels = append(s.Sentinels, w)
	rdb := w.Client(s.t)
	// The sentinels' own periods are seconds, and a stall of two seconds makes them passive for thirty (tilt). Servers
	// before 7.0 have no setting for it; there it takes longer. The period of pings stays: a sentinel's data of a
	// replica count as fresh for five of them.
	for name, ms := range map[string]int{
		"publish-period": 100, "info-period": 200, "ask-period": 100, "min-link-reconnect-period": 200, "tilt-period": 500,
	} {
		_ = rdb.Do(s.t.Context(), "SENTINEL", "DEBUG", name, ms).Err()
	}
}

// Options returns fresh go-redis options for a client that follows the master; all else is go-redis's default.
func (s *Sentinel) Options() *redis.FailoverOptions {
	opts := &redis.FailoverOptions{MasterName: masterName}
	for _, w := range s.Sentinels {
		opts.SentinelAddrs = append(opts.SentinelAddrs, w.Addr())
	}
	return opts
}

// Client returns a client with the options of Options, closed when t ends.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewFailoverClient(s.Options())
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Master returns the server that the first sentinel takes for the master.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	addr, err := s.sentinel(s.t, s.Sentinels[0]).GetMasterAddrByName(s.t.Context(), masterName).Result()
	if err != nil {
		s.t.Fatalf("sentinel: %v", err)
	}
	return s.byAddr(net.JoinHostPort(addr[0], addr[1]))
}

// Crash kills the master, and returns the replica that has taken its place when all sentinels have announced it. What
// the master had not replicated is lost. The old master may be restarted; the sentinels then make it a replica.
func (s *Sentinel) Crash() *Server {
	s.t.Helper()
	return s.switchMaster(func(old *Server) { old.Kill() }, func() {})
}

// Failover orders the sentinels to replace a master that is well, and returns the new one when all have announced it.
//
// A sentinel refuses the order as long as it knows no replica that is well, as shortly after the last failover. It gives an
// accepted order up without a word if the replica's state is too old, or if the promotion takes longer than the failover
// timeout. So the order is repeated until the master is another one.
func (s *Sentinel) Failover() *Server {
	s.t.Helper()
	first := s.sentinel(s.t, s.Sentinels[0])
	master := func() string { return strings.Join(first.GetMasterAddrByName(s.t.Context(), masterName).Val(), ":") }
	old := master()
	order := func() {
		if now := master(); now == old {
			_ = first.Failover(s.t.Context(), masterName).Err() // NOGOODSLAVE: not yet; INPROG: under way
		}
	}
	return s.switchMaster(func(*Server) { order() }, order)
}

// switchMaster calls what makes the sentinels replace the master, and waits until they announce the new one. Until the
// first has, it calls again every half second.
func (s *Sentinel) switchMaster(end func(old *Server), again func()) *Server {
	s.t.Helper()
	ctx := s.t.Context()
	old := s.Master()
	news := make([]<-chan *redis.Message, 0, len(s.Sentinels))
	for _, w := range s.Sentinels {
		sub := s.sentinel(s.t, w).Subscribe(ctx, "+switch-master")
		s.t.Cleanup(func() { _ = sub.Close() })
		if _, err := sub.Receive(ctx); err != nil { // the subscription stands
			s.t.Fatalf("sentinel: %v", err)
		}
		news = append(news, sub.Channel())
	}
	end(old)
	late, retry := time.After(bound), time.NewTicker(bound/60)
	defer retry.Stop()
	var successor *Server
	for len(news) > 0 {
		select {
		case m := <-news[0]: // <name> <old ip> <old port> <new ip> <new port>
			f := strings.Fields(m.Payload)
			successor = s.byAddr(net.JoinHostPort(f[3], f[4]))
			news = news[1:]
		case <-retry.C:
			if successor == nil {
				again()
			}
		case <-late:
			s.t.Fatalf("sentinel: no new master in %v", bound)
		}
	}
	return successor
}

func (s *Sentinel) byAddr(addr string) *Server {
	s.t.Helper()
	for _, node := range s.Nodes {
		if node.Addr() == addr {
			return node
		}
	}
	s.t.Fatalf("sentinel: no node at %s", addr)
	return nil
}

func (s *Sentinel) sentinel(t testing.TB, w *Server) *redis.SentinelClient {
	rdb := redis.NewSentinelClient(w.Options())
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
