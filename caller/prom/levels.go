package prom

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/caller"
)

// fleetTimeout bounds a reading of a pool's state from Redis.
const fleetTimeout = 2 * time.Second

// level is a family whose values are read at a scrape.
type level struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// levels are the families that are read at a scrape.
type levels struct {
	// of this process
	waiting, inFlight, missed, failing, blocked, charged level
	// of the fleet
	read, replicas, drifted                        level
	keyDisabled, keyCooling, limitUsed, limitPace  level
	limitUnits, permitsHeld, permitsLimit, waiters level

	all []*prometheus.Desc
}

func newLevels() *levels {
	l := &levels{}
	add := func(kind prometheus.ValueType, name, help string, labels ...string) level {
		d := prometheus.NewDesc(namespace+"_"+name, help, append([]string{"pool"}, labels...), nil)
		l.all = append(l.all, d)
		return level{d, kind}
	}
	const gauge, count = prometheus.GaugeValue, prometheus.CounterValue
	l.waiting = add(gauge, "calls_waiting", "Calls of this process that wait for admission.")
	l.inFlight = add(gauge, "calls_in_flight", "Calls of this process that are admitted and not over.")
	l.missed = add(count, "send_times_missed_total", "Send times that calls gave up because this process was late.")
	l.failing = add(count, "redis_failing_seconds_total", "Time in which every script call failed: this process was degraded.")
	l.blocked = add(count, "blocked_seconds_total", "Time on the clock for which calls of this process waited, by constraint.", "constraint")
	l.charged = add(count, "charged_units_total", "Units that admitted calls were charged, as estimated.", "metric")
	l.read = add(gauge, "fleet_read_success", "1 if the last reading of the fleet's state from Redis succeeded, else 0.")
	l.replicas = add(gauge, "fleet_replicas", "Processes of the pool that report.")
	l.drifted = add(gauge, "fleet_replicas_drifted", "Processes whose configuration is another one than that of most.")
	l.waiters = add(gauge, "fleet_calls_waiting", "Calls of all processes that wait, by priority.", "priority")
	l.keyDisabled = add(gauge, "key_disabled", "1 if the key or its account is disabled or on trial, else 0.", "account", "key")
	l.keyCooling = add(gauge, "key_cooldown_seconds", "Time for which the key or its account still cools down.", "account", "key")
	limit := []string{"account", "key", "metric", "limit"}
	l.limitUsed = add(gauge, "limit_used_ratio", "Share of the limit used in the last minute; of a daily limit, since its reset.", limit...)
	l.limitUnits = add(gauge, "limit_units", "Units that the limit allows per period, less what is reserved.", limit...)
	l.limitPace = add(gauge, "limit_pace_ratio", "Share of its rate at which the limit is used now.", limit...)
	l.permitsHeld = add(gauge, "account_permits_held", "Permits that all processes hold.", "account")
	l.permitsLimit = add(gauge, "account_permits_limit", "Adaptive limit on calls in flight; absent without one.", "account")
	return l
}

func (l *levels) describe(out chan<- *prometheus.Desc) {
	for _, d := range l.all {
		out <- d
	}
}

// collect sends the values of the Pools of a name.
func (l *levels) collect(p *pool, out chan<- prometheus.Metric) {
	send := func(to level, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(to.desc, to.kind, v, append([]string{p.name}, labels...)...)
	}
	t, its := p.read()
	send(l.waiting, float64(t.waiting))
	send(l.inFlight, float64(t.inFlight))
	send(l.missed, float64(t.missed))
	send(l.failing, t.failing.Seconds())
	for metric, n := range t.charged {
		send(l.charged, float64(n), string(metric))
	}
	for constraint, d := range t.blocked {
		send(l.blocked, d.Seconds(), constraint)
	}
	if its == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), fleetTimeout)
	defer cancel()
	f, err := its.Fleet(ctx)
	if err != nil {
		send(l.read, 0)
		return
	}
	send(l.read, 1)
	for _, k := range f.Keys {
		p.show(k.Account, k.ID)
	}
	l.fleet(f, send)
}

type sender func(to level, v float64, labels ...string)

// fleet sends what all processes share.
func (l *levels) fleet(f *caller.Fleet, send sender) {
	drifted := 0
	var waiting [priorities]int
	held := map[string]int{}
	for _, k := range f.Keys {
		held[k.Account] = 0
		send(l.keyDisabled, one(k.Disabled > 0 || k.Trial), k.Account, k.ID)
		send(l.keyCooling, max(k.CoolingDown, 0).Seconds(), k.Account, k.ID)
	}
	for i := range f.Replicas {
		r := &f.Replicas[i]
		if r.Drifted {
			drifted++
		}
		for _, w := range r.Waiting {
			waiting[priorityIndex(w.Priority)] += w.Calls
		}
	}
	for _, s := range f.Sessions {
		for account, n := range s.Held {
			held[account] += n
		}
	}
	send(l.replicas, float64(len(f.Replicas)))
	send(l.drifted, float64(drifted))
	for i, n := range waiting {
		send(l.waiters, float64(n), priorityNames[i])
	}
	for account, n := range held {
		send(l.permitsHeld, float64(n), account)
	}
	for account, n := range f.Permits {
		send(l.permitsLimit, n, account)
	}
	for i, u := range f.Usage {
		labels := []string{u.Account, u.Key, string(u.Limit.Metric), limitName(u.Limit)}
		send(l.limitUsed, u.Share, labels...)
		send(l.limitUnits, float64(u.Limit.Usable()), labels...)
		send(l.limitPace, f.Limits[i].Pace, labels...)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// limitName names a limit among those of its metric: the scope, the period, and the models if it isn't for all.
func limitName(l caller.Limit) string {
	name := string(l.Scope) + " " + l.Period.String()
	if l.Algorithm == caller.Daily {
		name = string(l.Scope) + " daily"
	}
	if len(l.Models) > 0 {
		name += " " + strings.Join(l.Models, ",")
	}
	return name
}
