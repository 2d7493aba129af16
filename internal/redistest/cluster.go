package redistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	slots   = 16384
	masters = 3
)

// Cluster is a Redis Cluster of three masters, and replicas if asked for, that a test has for itself. Its methods are
// for one goroutine at a time; clients of it may be used from any.
type Cluster struct {
	t testing.TB
	// Nodes are all servers: first those that began as masters, in the order of their slots, then the replicas in the
	// order of their masters.
	Nodes []*Server

	admin map[*Server]*redis.Client
	ids   map[*Server]string
}

// StartCluster starts a cluster with so many replicas of each master, and returns when every node agrees on who serves
// which slot. That takes a little more than two seconds, which a master waits before it accepts writes. It is stopped
// when the test ends. Without redis-server the test is skipped, or fails if CI is set.
func StartCluster(t testing.TB, replicas int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, admin: map[*Server]*redis.Client{}, ids: map[*Server]string{}}
	for range masters * (1 + replicas) {
		// The timeout is a compromise: a crash is noticed after it, and a machine that stalls for as long loses masters.
		node := Start(t, WithTCP(), WithArgs(
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0",
			"--repl-diskless-sync-delay", "0",
		))
		c.Nodes = append(c.Nodes, node)
		c.admin[node] = node.Client(t)
		id, err := c.admin[node].ClusterMyID(t.Context()).Result()
		c.check(err)
		c.ids[node] = id
	}
	owners := c.assignSlots()
	c.meet()
	c.replicate()
	c.settle(owners)
	return c
}

// assignSlots assigns the slots evenly and returns the master of each.
func (c *Cluster) assignSlots() (owners [slots]*Server) {
	for i, node := range c.Nodes[:masters] {
		first, last := i*slots/masters, (i+1)*slots/masters-1
		c.check(c.admin[node].ClusterAddSlotsRange(c.t.Context(), first, last).Err())
		for slot := first; slot <= last; slot++ {
			owners[slot] = node
		}
	}
	return owners
}

// meet introduces every node to every other, because gossip alone takes longer.
func (c *Cluster) meet() {
	for i, node := range c.Nodes { // a node accepts it only before it knows another
		c.check(c.admin[node].Do(c.t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
	}
	for i, node := range c.Nodes {
		for _, other := range c.Nodes[i+1:] {
			c.check(c.admin[node].ClusterMeet(c.t.Context(), "127.0.0.1", strconv.Itoa(other.port)).Err())
		}
	}
	for _, node := range c.Nodes {
		eventually(c.t, "the nodes know each other", func() error {
			return c.info(node, "cluster_known_nodes", strconv.Itoa(len(c.Nodes)))
		})
	}
}

func (c *Cluster) replicate() {
	for i, node := range c.Nodes[masters:] {
		master := c.Nodes[i%masters]
		eventually(c.t, "a replica finds its master", func() error {
			return c.admin[node].ClusterReplicate(c.t.Context(), c.ids[master]).Err()
		})
		c.inSync(node)
	}
}

// inSync waits until a replica has its master's data.
func (c *Cluster) inSync(replica *Server) {
	eventually(c.t, "the replica is in sync", func() error {
		info, err := c.admin[replica].Info(c.t.Context(), "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = fmt.Errorf("replication: %s", info)
		}
		return err
	})
}

// Options returns fresh go-redis options that reach the cluster; all else is go-redis's default.
func (c *Cluster) Options() *redis.ClusterOptions {
	opts := new(redis.ClusterOptions)
	for _, node := range c.Nodes {
		opts.Addrs = append(opts.Addrs, node.Addr())
	}
	return opts
}

// Client returns a client with the options of Options, closed when t ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	rdb := redis.NewClusterClient(c.Options())
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	slot, err := c.admin[c.live()[0]].ClusterKeySlot(c.t.Context(), key).Result()
	c.check(err)
	return int(slot)
}

// Owner returns the master that serves a slot.
func (c *Cluster) Owner(slot int) *Server {
	c.t.Helper()
	return c.owners()[slot]
}

// Replicas returns the living replicas of a master.
func (c *Cluster) Replicas(master *Server) []*Server {
	c.t.Helper()
	var replicas []*Server
	for _, node := range c.live() {
		info, err := c.admin[node].Info(c.t.Context(), "replication").Result()
		c.check(err)
		if strings.Contains(info, "role:slave") && strings.Contains(info, fmt.Sprintf("master_port:%d\r\n", master.port)) {
			replicas = append(replicas, node)
		}
	}
	return replicas
}

// Failover hands a master's slots over to one of its replicas in an orderly way (CLUSTER FAILOVER: nothing is lost),
// and returns the new master when all nodes know it.
func (c *Cluster) Failover(master *Server) *Server {
	c.t.Helper()
	replica, owners := c.replicaOf(master), c.owners()
	c.check(c.admin[replica].ClusterFailover(c.t.Context()).Err())
	c.takenOver(owners, master, replica)
	return replica
}

// Crash kills a master, and returns the replica that has taken its place when all nodes know it. It takes three seconds
// or more. What the master had not replicated is lost.
func (c *Cluster) Crash(master *Server) *Server {
	c.t.Helper()
	c.replicaOf(master) // fails the test if there is none
	candidates := c.Replicas(master)
	owned := c.owners()
	master.Kill()
	var successor *Server
	eventually(c.t, "a replica takes over", func() error {
		for _, r := range candidates {
			if info, err := c.admin[r].Info(c.t.Context(), "replication").Result(); err != nil {
				return err
			} else if strings.Contains(info, "role:master") {
				successor = r
				return nil
			}
		}
		return fmt.Errorf("none of %d replicas is a master", len(candidates))
	})
	c.takenOver(owned, master, successor)
	return successor
}

func (c *Cluster) replicaOf(master *Server) *Server {
	c.t.Helper()
	replicas := c.Replicas(master)
	if len(replicas) == 0 {
		c.t.Fatal("the master has no replica; start the cluster with some")
	}
	return replicas[0]
}

// takenOver waits until all nodes see a successor in master's place.
func (c *Cluster) takenOver(owners [slots]*Server, master, successor *Server) {
	c.t.Helper()
	for slot, owner := range owners {
		if owner == master {
			owners[slot] = successor
		}
	}
	c.settle(owners)
}

func (c *Cluster) live() []*Server {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(s *Server) bool { return s.process.ended() })
}

func (c *Cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("cluster: %v", err)
	}
}
