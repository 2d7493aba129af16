package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/penstock/penstock/examples/internal/machine"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// A provider with three keys of 200 requests per 4 s each, of whose responses 2 % are 503. The jitter is that of four
// processes under the race detector on two cores.
const (
	busySettings = "latency: {min: 20ms, max: 80ms}\nfailures: {overloaded: 0.02}"
	busyLimits   = "limits: [{metric: requests, limit: 200, per: 4s}]"
	busyPool     = "limits:\n  - {metric: requests, rate: 200, period: 4s}\ntuning: {arrival_jitter: 250ms}\n"
)

// A run uses the whole quota, and gets no 429.
func TestBatch_UsesTheWholeQuota(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 3, busySettings, busyLimits)
	k := newTask(t, p.pool(3, busyPool), sampleRequests("r", 2000))
	watch := machine.Start(t)
	s := k.run(exitAllSucceeded)
	if s.Requests != 2000 || s.Succeeded != 2000 || s.Failed != 0 || s.Throttled != 0 || s.Resumed != 0 {
		t.Errorf("figures %+v", s)
	}
	busy := watch.Busy(t)
	if s.Retries == 0 || s.Utilization < 0.9 && !busy || s.Binding != "requests" || s.P50 < 20 || s.P99 < s.P95 || s.P95 < s.P50 {
		t.Errorf("figures %+v", s)
	}
	if n := len(answers(t, k.out)); n != 2000 {
		t.Errorf("%d answers", n)
	}
	audit(t, p, busy)
}

// audit checks the provider's ledger: no limit is exceeded, each is used unless the machine was busy, and no request is
// served twice.
func audit(t *testing.T, p *provider, busy bool) {
	t.Helper()
	l := p.ledger()
	if l.Throttled() != 0 || l.UnexplainedTwice != 0 || l.UnknownKeys != 0 {
		t.Errorf("%d 429s, %d answered twice, %d unknown keys", l.Throttled(), l.UnexplainedTwice, l.UnknownKeys)
	}
	for _, a := range l.Accounts {
		if u := a.Utilization(apisim.Requests); u < 0.9 && !busy {
			t.Errorf("the provider saw a utilization of %.3f of %s", u, a.ID)
		}
	}
}

// Processes with one Redis share the quota fairly.
func TestBatch_SharesTheQuota(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	monitored := monitor(t, server.Addr())
	p := startProvider(t, 3, busySettings, busyLimits)
	config := p.pool(3, busyPool)
	watch := machine.Start(t)
	var tasks []*task
	var children []*redistest.Child
	for _, name := range []string{"a", "b", "c"} {
		k := newTask(t, config, sampleRequests(name, 667))
		k.redis = "redis://" + server.Addr()
		tasks, children = append(tasks, k), append(children, k.start())
	}
	var shortest, longest, total float64
	for i, k := range tasks {
		s := k.finish(children[i], exitAllSucceeded)
		if s.Succeeded != 667 || s.Throttled != 0 || s.Binding != "requests" || len(answers(t, k.out)) != 667 {
			t.Errorf("process %d: %+v", i, s)
		}
		if shortest == 0 || s.Elapsed < shortest {
			shortest = s.Elapsed
		}
		longest = max(longest, s.Elapsed)
		total += s.Utilization
	}
	busy := watch.Busy(t)
	// All send the same number of requests. With equal shares all take the same time.
	if shortest < 0.8*longest && !busy {
		t.Errorf("unfair: one took %.1f s, another %.1f s", shortest, longest)
	}
	t.Logf("utilization of all three together: %.3f", total)
	audit(t, p, busy)
	if strings.Contains(dump(t, server.Client(t)), canary) || strings.Contains(monitored(), canary) {
		t.Error("a secret is in Redis")
	}
}

// monitor records every command of the server; the function that it returns ends that.
func monitor(t *testing.T, addr string) func() string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&seen, conn)
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return func() string {
		conn.Close()
		<-done
		if !strings.Contains(seen.String(), "EVALSHA") && !strings.Contains(seen.String(), "evalsha") {
			t.Error("MONITOR saw no script")
		}
		return seen.String()
	}
}

// dump returns all that is stored.
func dump(t *testing.T, rdb *redis.Client) string {
	t.Helper()
	ctx := context.Background()
	var out strings.Builder
	keys := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		out.WriteString(key + "\n")
		if text, err := rdb.Get(ctx, key).Result(); err == nil {
			out.WriteString(text + "\n")
		}
		fields, _ := rdb.HGetAll(ctx, key).Result() // not every key is a hash
		for name, value := range fields {
			out.WriteString(name + " " + value + "\n")
		}
	}
	if err := keys.Err(); err != nil || out.Len() == 0 {
		t.Errorf("nothing found in Redis: %v", err)
	}
	return out.String()
}
