package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

const (
	// quotaMargin is by how much of a quota the use must fall below QuotaShare before Quota ends.
	quotaMargin = 0.05
	// longPeriod is the least period of a limit that is a quota. A limit per minute may be used up at any time.
	longPeriod = time.Hour
	// byOperator is the least time for which only an operator disables a key.
	byOperator = 365 * 24 * time.Hour

	keyPatience   = 30 * time.Second // a key that is rejected by chance is back before
	redisPatience = 20 * time.Second
	driftPatience = 2 * time.Minute // of a deployment
	calm          = 30 * time.Second
)

// reading is what a rule says of one thing at a time. If it neither fires nor clears, what was goes on.
type reading struct {
	rule     Rule
	severity Severity
	labels   map[string]string
	summary  string
	fires    bool
	clears   bool
	after    time.Duration // for which it must fire until people are notified
	calm     time.Duration // for which it must clear until it is over
	baseline float64       // that it is compared with
}

// judge returns the readings of all rules. baseline returns what an alert that is firing is compared with; 0: none is.
func judge(c *Config, f *caller.Fleet, now time.Time, baseline func(Rule) float64) []reading {
	window, before := split(f.History, now.Add(-c.Window))
	all := []reading{
		failureRate(c, &window),
		unusual(Throttling, "exceeded a limit of the provider", window.throttled, window.attempts, before.throttled, before.attempts, baseline),
		unusual(Retries, "were repetitions", window.retries(), window.attempts, before.retries(), before.attempts, baseline),
		redisDegraded(f), drift(f), waiting(c, f),
	}
	all = append(all, disabled(f)...)
	all = append(all, quotas(c, f)...)
	return slices.DeleteFunc(all, func(r reading) bool { return slices.Contains(c.Mute, r.rule) })
}

// counts are the sums of intervals.
type counts struct {
	succeeded, failed, attempts, throttled int64
}

func (c *counts) calls() int64 { return c.succeeded + c.failed }

// retries returns how many attempts were repetitions. A call that got no key made no attempt, so they may be more.
func (c *counts) retries() int64 { return max(0, c.attempts-c.calls()) }

// split adds up the intervals that end after a time, and those before.
func split(all []caller.Interval, at time.Time) (window, before counts) {
	for _, i := range all {
		sum := &before
		if i.Begin.Add(minWindow).After(at) {
			sum = &window
		}
		sum.succeeded += i.Succeeded
		sum.failed += i.Failed
		sum.attempts += i.Attempts
		sum.throttled += i.Throttled
	}
	return window, before
}

// fewest is the least number of events that a share is judged by.
const fewest = 20

func failureRate(c *Config, w *counts) reading {
	share := float64(w.failed) / float64(max(1, w.calls()))
	return reading{
		rule: FailureRate, severity: Critical,
		summary: fmt.Sprintf("%s of %d calls failed in %v", percent(share), w.calls(), c.Window),
		fires:   w.calls() >= fewest && share > c.FailureRate,
		clears:  w.failed == 0 || w.calls() >= fewest && share <= c.FailureRate/2,
	}
}

func redisDegraded(f *caller.Fleet) reading {
	var names []string
	var reason string
	for i := range f.Replicas {
		if r := &f.Replicas[i]; r.RedisError != "" {
			names, reason = append(names, r.Name), r.RedisError
		}
	}
	return reading{
		rule: RedisDegraded, severity: Critical, after: redisPatience, calm: calm,
		summary: fmt.Sprintf("%d of %d processes have trouble with Redis (%s): %s", len(names), len(f.Replicas), some(names), reason),
		fires:   len(names) > 0, clears: len(names) == 0,
	}
}

func drift(f *caller.Fleet) reading {
	var names, differences []string
	for i := range f.Replicas {
		if r := &f.Replicas[i]; r.Drifted {
			names = append(names, r.Name)
			differences = append(differences, r.Differences...)
		}
	}
	slices.Sort(differences)
	return reading{
		rule: Drift, severity: Warning, after: driftPatience, calm: calm,
		summary: fmt.Sprintf("%d of %d processes have other %s than most (%s): limits are only kept if all are configured alike",
			len(names), len(f.Replicas), strings.Join(slices.Compact(differences), ", "), some(names)),
		fires: len(names) > 0, clears: len(names) == 0,
	}
}

func waiting(c *Config, f *caller.Fleet) reading {
	calls := 0
	var longest caller.Waiting
	for i := range f.Replicas {
		for _, w := range f.Replicas[i].Waiting {
			calls += w.Calls
			if w.Longest >= longest.Longest {
				longest = w
			}
		}
	}
	return reading{
		rule: Waiting, severity: Warning, calm: calm,
		summary: fmt.Sprintf("%d calls wait for admission, one for %v (for %s)",
			calls, longest.Longest.Round(time.Second), waitsFor(longest.For)),
		fires: longest.Longest > c.MaxWait, clears: longest.Longest <= c.MaxWait/2,
	}
}

func waitsFor(constraint string) string {
	if constraint == "" {
		return "Redis"
	}
	return constraint
}

// quotas judges the limits that last for long.
func quotas(c *Config, f *caller.Fleet) []reading {
	var all []reading
	for i := range f.Limits {
		l := &f.Limits[i]
		if l.Limit.Algorithm != caller.Daily && l.Limit.Period < longPeriod {
			continue
		}
		share := float64(l.Used) / float64(max(1, l.Limit.Usable()))
		labels := map[string]string{"metric": string(l.Limit.Metric), "period": l.Limit.Period.String()}
		of := "the pool"
		if l.Account != "" {
			labels["account"], of = l.Account, "account "+l.Account
		}
		if l.Key != "" {
			labels["key"], of = l.Key, "key "+l.Key
		}
		if len(l.Limit.Models) > 0 {
			labels["models"] = strings.Join(l.Limit.Models, ",")
		}
		all = append(all, reading{
			rule: Quota, severity: Warning, labels: labels,
			summary: fmt.Sprintf("%s of the %s of %s are used (%d of %d)", percent(share), l.Limit.Metric, of, l.Used, l.Limit.Usable()),
			fires:   share >= c.QuotaShare, clears: share < c.QuotaShare-quotaMargin,
		})
	}
	return all
}

// some names the first few.
func some(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}
