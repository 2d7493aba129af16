package ratelimit

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A key that is absent although a process holds a state of it was deleted, as redis_rate's Reset does, or Redis has lost
// it. The server's INFO shows the difference: restarts, failovers, flushes and evictions change it, and a deletion doesn't.

// history is what INFO shows of a node's losses of data.
type history struct {
	ready atomic.Bool // text is known, or can't be known

	mu    sync.Mutex
	text  string        // empty: unknown
	since time.Duration // since the Limiter's start: later states of keys are covered by text
}

// historyFields are the beginnings of the lines of INFO that change when the server loses keys, or becomes another one.
var historyFields = []string{
	"run_id:", "role:", "master_replid:", "master_replid2:", "evicted_keys:",
	"cmdstat_flushall:", "cmdstat_flushdb:", "cmdstat_swapdb:", "cmdstat_debug:", "cmdstat_replicaof:", "cmdstat_slaveof:",
	"cmdstat_config|resetstat:",
}

// readHistory asks a server. It returns an empty text if the server doesn't say, such as because of its ACL.
func readHistory(ctx context.Context, server Client) string {
	cmd := redis.NewStringCmd(ctx, "info", "all")
	if server.Process(ctx, cmd) != nil {
		return ""
	}
	var text strings.Builder
	found := false
	for line := range strings.Lines(cmd.Val()) {
		for _, f := range historyFields {
			if strings.HasPrefix(line, f) {
				value, _, _ := strings.Cut(line, ",") // of a command, only the number of calls
				text.WriteString(strings.TrimSpace(value) + "\n")
				found = found || f == "run_id:"
			}
		}
	}
	if !found {
		return ""
	}
	return text.String()
}

// minDeleted is the shortest time that the TAT of a deleted key is ahead. Redis may expire a key up to a millisecond early.
const minDeleted = 10 * time.Millisecond

// findDeleted sets b.deleted. With the first reply of a node it reads the node's history.
func (b *batch) findDeleted(ctx context.Context, x exchange) {
	h, l := &b.entries[0].node().history, b.shard.l // b.node may date from before a Cluster's slots were known
	var missing []int
	for i := range b.entries {
		if x.reply.Missing(i) && x.reply.Ahead(i) >= minDeleted {
			missing = append(missing, i)
		}
	}
	if missing == nil && h.ready.Load() {
		return
	}
	server := l.nodes.server(ctx, l.client, b.entries[0].key)
	h.mu.Lock()
	defer h.mu.Unlock()
	missing = b.since(h, missing)
	if server == nil || h.ready.Load() && len(missing) == 0 {
		return
	}
	text := readHistory(ctx, server)
	if text != "" && text == h.text {
		b.deleted = missing
		return
	}
	first := !h.ready.Swap(true)
	h.text, h.since = text, x.to.Sub(l.start)
	if first {
		h.since = x.from.Sub(l.start) // the states of this very reply are covered
	}
}

// since returns those of the keys whose state was received while the history was known. The caller holds h.mu.
func (b *batch) since(h *history, keys []int) []int {
	if h.text == "" {
		return nil
	}
	b.shard.mu.Lock()
	defer b.shard.mu.Unlock()
	var later []int
	for _, i := range keys {
		if e := b.entries[i]; e.offset.known && e.offset.at >= h.since {
			later = append(later, i)
		}
	}
	return later
}
