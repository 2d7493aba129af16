package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
)

// finding is what a check found.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Says   string `json:"says"`
	Advice string `json:"advice,omitempty"` // what to change
}

// check looks at one thing of a Redis, with what INFO says.
type check func(ctx context.Context, rdb *redis.Client, info map[string]string) finding

// doctor checks a Redis, and the pool in it if one is named. Its error counts what is to be changed.
func doctor(ctx context.Context, f *flags, w io.Writer) error {
	if f.redis == "" {
		return &usageError{"give -redis with the URL of the pool's Redis"}
	}
	if f.checkKeys != (f.config != "") {
		return &usageError{"give -check-keys and -config together"}
	}
	rdb, err := openRedis(f.redis)
	if err != nil {
		return err
	}
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(ctx, 4*timeout)
	defer cancel()
	text, err := rdb.Info(ctx, "server", "memory", "replication", "cluster").Result()
	if err != nil && !strings.Contains(err.Error(), "NOPERM") {
		return explain(err)
	}
	info := parseInfo(text)
	var all []finding
	for _, c := range []check{checkVersion, checkEviction, checkLatency, checkClock, checkScripts, checkCluster} {
		all = append(all, c(ctx, rdb, info))
	}
	if f.pool != "" {
		all = append(all, checkPool(ctx, rdb, f.pool)...)
	}
	if f.checkKeys {
		all = append(all, checkKeys(ctx, rdb, f.config)...)
	}
	return report(w, f, all)
}

// report writes the findings.
func report(w io.Writer, f *flags, all []finding) error {
	bad := 0
	for _, x := range all {
		if !x.OK {
			bad++
		}
	}
	if f.json {
		if err := printJSON(w, all); err != nil {
			return err
		}
	} else {
		for _, x := range all {
			sign := "ok  "
			if !x.OK {
				sign = "BAD "
			}
			fmt.Fprintf(w, "%s %-14s %s\n", sign, x.Check, x.Says)
			if x.Advice != "" {
				fmt.Fprintf(w, "     %-14s %s\n", "", x.Advice)
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks found something to change", bad, len(all))
	}
	return nil
}

// parseInfo returns the fields of INFO.
func parseInfo(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

func checkVersion(_ context.Context, _ *redis.Client, info map[string]string) finding {
	if v := info["valkey_version"]; v != "" {
		return finding{Check: "version", OK: true, Says: "Valkey " + v}
	}
	v := info["redis_version"]
	out := finding{Check: "version", OK: true, Says: "Redis " + v}
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		out.Says = "not known: the user may not call INFO"
		return out
	}
	major, _ := strconv.Atoi(parts[0])
	minor, _ := strconv.Atoi(parts[1])
	if major < 6 || major == 6 && minor < 2 {
		out.OK, out.Advice = false, "use Redis 6.2 or newer, or Valkey"
	}
	return out
}

func checkEviction(_ context.Context, _ *redis.Client, info map[string]string) finding {
	policy, most := info["maxmemory_policy"], info["maxmemory"]
	out := finding{Check: "eviction", OK: true, Says: fmt.Sprintf("%s, maxmemory %s", policy, info["maxmemory_human"])}
	switch {
	case policy == "":
		out.Says = "not known: the user may not call INFO"
	case policy != "noeviction" && most != "0":
		out.OK, out.Advice = false, "Redis may drop a pool's state when memory is short, and then limits are exceeded: "+
			"set maxmemory-policy noeviction"
	}
	return out
}

func checkLatency(ctx context.Context, rdb *redis.Client, _ map[string]string) finding {
	const pings = 20
	took := make([]time.Duration, 0, pings)
	for range pings {
		begun := time.Now()
		if err := rdb.Time(ctx).Err(); err != nil {
			return finding{Check: "latency", Says: err.Error(), Advice: "allow the command TIME"}
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	median, worst := took[pings/2], took[pings-1]
	out := finding{Check: "latency", OK: true, Says: fmt.Sprintf(
		"median %v, worst %v of %d", median.Round(time.Microsecond), worst.Round(time.Microsecond), pings,
	)}
	if median > 25*time.Millisecond {
		out.OK, out.Advice = false, "an admission takes a round trip: use a Redis nearer to the processes, "+
			"or raise Tuning.Horizon to a few round trips"
	}
	return out
}

// checkClock compares Redis' clock with this machine's. Limits need none of both to be right; people who compare times do,
// and a clock that differs by much is often one that steps.
func checkClock(ctx context.Context, rdb *redis.Client, _ map[string]string) finding {
	begun := time.Now()
	at, err := rdb.Time(ctx).Result()
	if err != nil {
		return finding{Check: "clock", Says: err.Error(), Advice: "allow the command TIME"}
	}
	off := at.Sub(begun.Add(time.Since(begun) / 2)).Round(time.Millisecond)
	out := finding{Check: "clock", OK: true, Says: fmt.Sprintf("%v ahead of this machine's", off)}
	if off.Abs() > 2*time.Second {
		out.OK, out.Advice = false, "synchronise both machines by NTP; a step of Redis' clock ends leases and cooldowns early or late"
	}
	return out
}

func checkScripts(ctx context.Context, rdb *redis.Client, _ map[string]string) finding {
	out := finding{Check: "scripts", OK: true, Says: "Lua runs"}
	if err := rdb.Eval(ctx, "return 1", []string{"penstock:pool:{doctor}"}).Err(); err != nil {
		out.OK, out.Says = false, err.Error()
		out.Advice = "allow EVAL and EVALSHA: see the README for the ACL (a user that only looks needs neither)"
	}
	return out
}

func checkCluster(_ context.Context, _ *redis.Client, info map[string]string) finding {
	out := finding{Check: "server", OK: true, Says: "single"}
	if info["cluster_enabled"] == "1" {
		out.Says = "node of a cluster"
	} else if n := info["connected_slaves"]; n != "" && n != "0" {
		out.Says = "primary with " + n + " replicas"
	}
	if info["role"] == "slave" {
		out.OK, out.Says, out.Advice = false, "replica", "give the address of the primary, or of a Sentinel"
	}
	return out
}

// checkPool compares the processes of a pool.
func checkPool(ctx context.Context, rdb *redis.Client, pool string) []finding {
	admin, err := caller.OpenAdmin(ctx, rdb, pool)
	if err != nil {
		return []finding{{Check: "pool", Says: err.Error(), Advice: "start a process of the pool, or check the name"}}
	}
	defer func() { _ = admin.Close(ctx) }()
	s, err := status.Read(ctx, admin)
	if err != nil {
		return []finding{{Check: "pool", Says: err.Error()}}
	}
	all := []finding{{Check: "pool", OK: true, Says: fmt.Sprintf("%d processes, %d waiting calls", len(s.Replicas), s.CallsWaiting)}}
	for i := range s.Replicas {
		if r := &s.Replicas[i]; r.Drifted {
			all = append(all, finding{
				Check: "configuration", Says: fmt.Sprintf("%s has other %s than most processes", r.Name, strings.Join(r.Differences, ", ")),
				Advice: "deploy the same configuration everywhere: limits are only kept if all processes know the same",
			})
		}
	}
	for _, a := range s.Accounts {
		for _, k := range a.Keys {
			if k.State == "disabled" || k.State == "trial" {
				all = append(all, finding{
					Check: "key", Says: fmt.Sprintf("%s is disabled: %s", k.ID, k.Reason), Advice: "replace it, or penstock enable " + k.ID,
				})
			}
		}
	}
	for i := range s.Limits {
		if l := &s.Limits[i]; l.Pace < 0.95 {
			all = append(all, finding{
				Check: "limit", Says: fmt.Sprintf("%s of %s runs at %.0f%% of its rate after 429s", l.Metric, l.Account, 100*l.Pace),
				Advice: "another client uses the account: give it a share by Reserved, or its own account",
			})
		}
	}
	return all
}
