package redistest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// owners returns the master of each slot, as the first living node that is asked sees it.
func (c *Cluster) owners() [slots]*Server {
	c.t.Helper()
	view, err := c.view(c.live()[0])
	c.check(err)
	return view
}

// view returns the master of each slot as one node sees it; nil where there is none.
func (c *Cluster) view(node *Server) ([slots]*Server, error) {
	var view [slots]*Server
	ranges, err := c.admin[node].ClusterSlots(c.t.Context()).Result() //nolint:staticcheck // ClusterShards needs Redis 7
	if err != nil {
		return view, err
	}
	for _, r := range ranges {
		for slot := r.Start; slot <= r.End; slot++ {
			view[slot] = c.byAddr(r.Nodes[0].Addr)
		}
	}
	return view, nil
}

func (c *Cluster) byAddr(addr string) *Server {
	for _, node := range c.Nodes {
		if node.Addr() == addr {
			return node
		}
	}
	return nil
}

// settle waits until every living node calls the cluster healthy and sees these masters.
func (c *Cluster) settle(want [slots]*Server) {
	c.t.Helper()
	for _, node := range c.live() {
		eventually(c.t, "the nodes agree", func() error {
			if err := c.info(node, "cluster_state", "ok"); err != nil {
				return err
			}
			view, err := c.view(node)
			if err != nil {
				return err
			}
			for slot, owner := range view {
				if owner != want[slot] {
					return fmt.Errorf("%s has another master for slot %d", node.Addr(), slot)
				}
			}
			return nil
		})
	}
}

// info returns an error unless a field of CLUSTER INFO has a value.
func (c *Cluster) info(node *Server, field, want string) error {
	info, err := c.admin[node].ClusterInfo(c.t.Context()).Result()
	if err == nil && !strings.Contains(info, field+":"+want+"\r\n") {
		err = fmt.Errorf("%s: want %s:%s in\n%s", node.Addr(), field, want, info)
	}
	return err
}

// eventually repeats f until it returns nil, because Redis doesn't announce some changes.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	late := time.Now().Add(bound)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("waited %v until %s: %v", bound, what, err)
		}
		time.Sleep(pause)
	}
}
