package caller

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Metric is what a limit counts.
type Metric string

// Common metrics. A metric of one's own is any name of letters, digits, '_', '.' and '-'.
const (
	Requests     Metric = "requests"
	Tokens       Metric = "tokens"
	InputTokens  Metric = "input_tokens"
	OutputTokens Metric = "output_tokens"
	MicroDollars Metric = "micro_dollars"
)

// Cost is the units of each metric that a call takes. Requests defaults to 1, every other metric to 0.
type Cost map[Metric]int64

// Algorithm is how the provider counts a limit.
type Algorithm string

// Values of Algorithm.
const (
	// Window keeps the limit in every window of its length, wherever the provider begins its windows. The default.
	Window Algorithm = "window"
	// Bucket is a bucket that refills continuously, as some providers document.
	Bucket Algorithm = "bucket"
	// Daily is a count that is reset every day at Limit.ResetAt.
	Daily Algorithm = "daily"
)

// LimitScope is what has a limit.
type LimitScope string

// Values of LimitScope.
const (
	// PerAccount: each account has the limit. The default.
	PerAccount LimitScope = "account"
	// PerKey: each key has it.
	PerKey LimitScope = "key"
	// PerPool: all keys of the pool share it. It is for a provider's limit or a budget of one's own.
	PerPool LimitScope = "pool"
)

// Limit is one limit: at most Rate units of Metric per Period.
type Limit struct {
	// Metric is what is counted. Required.
	Metric Metric
	// Rate is the number of units per Period. At least 1.
	Rate int64
	// Period is the length of the window, or the time in which the bucket refills. More than 0. A Daily limit has 24 hours,
	// which is its default.
	Period time.Duration
	// Reserved is the share of Rate that the pool leaves to other clients of the account. From 0 to less than 1; at least
	// one unit is used. Defaults to 0: the pool uses all of Rate.
	Reserved float64
	// Algorithm is how the provider counts. Defaults to Window.
	Algorithm Algorithm
	// Burst is the number of units that can be used at once. From 1 to Rate less Reserved. A window loses Burst-1 of its
	// units to it. A call that costs more than Burst waits until the limit has been idle for the excess, and so takes up to
	// twice its cost. Defaults to 1 for Requests, and to Rate for a Bucket. For other metrics it defaults to a fiftieth of
	// Rate, and grows to what calls cost, up to a quarter of Rate, while there are such calls. A Daily limit has none.
	Burst int64
	// Scope is what has the limit. Defaults to PerAccount.
	Scope LimitScope
	// Models are patterns of the models whose calls the limit counts, together; '*' stands for any text. A call whose model
	// is unknown matches none. Defaults to none: the limit counts every call.
	Models []string
	// Location and ResetAt are when a Daily limit is reset: at this time of day there. ResetAt is from 0 to less than 24
	// hours. Default to UTC and 0: midnight.
	Location *time.Location
	ResetAt  time.Duration
}

// maxUnits keeps units, and sums of a few, exact in the doubles that Redis' Lua counts with.
const maxUnits = 1 << 50

const day = 24 * time.Hour

// gcraParams are a limit's emission interval and burst.
type gcraParams struct {
	name     string  // unique among the limits of a scope
	interval float64 // seconds per unit; 0 of a Daily limit
	burst    int64   // units
	grows    bool    // the burst does
}

// gcraParams returns the emission interval and burst with which GCRA keeps the limit at the provider, although one call may
// take up to jitter longer than another to get there.
//
// In any half-open window of length w, GCRA admits less than w/interval + burst units. What the provider sees in a window
// of length Period was admitted within Period+jitter. So interval = (Period+jitter)/(Rate-Burst+1) keeps Rate. A bucket
// that refills at Rate/Period overflows by no more than the units of jitter, which are subtracted from its burst.
func (l Limit) gcraParams(jitter time.Duration) (gcraParams, error) {
	l = l.withDefaults()
	out := gcraParams{name: l.name(), burst: l.Burst}
	if err := l.check(); err != nil {
		return out, err
	}
	most := l.Usable()
	period, late, n := l.Period.Seconds(), jitter.Seconds(), float64(most)
	switch l.Algorithm {
	case Window:
		if out.burst == 0 && l.Metric != Requests {
			out.burst, out.grows = most/50, true
		}
		out.burst = max(out.burst, 1)
		out.interval = (period + late) / (n - float64(out.burst) + 1)
	case Bucket:
		room := int64(n - math.Ceil(late*n/period))
		if room < 1 {
			return out, fmt.Errorf("a bucket of %d %s per %v is smaller than what arrives within %v: lower Tuning.ArrivalJitter",
				most, l.Metric, l.Period, jitter)
		}
		out.burst = min(cmp.Or(out.burst, most), room)
		out.interval = period / n
	case Daily:
		out.burst = most
	default:
		return out, fmt.Errorf("Algorithm is %q: use window, bucket or daily", l.Algorithm)
	}
	return out, nil
}

// withDefaults returns the limit with the defaults that don't depend on another field.
func (l Limit) withDefaults() Limit {
	l.Algorithm = cmp.Or(l.Algorithm, Window)
	l.Scope = cmp.Or(l.Scope, PerAccount)
	if l.Location == nil {
		l.Location = time.UTC
	}
	if l.Algorithm == Daily {
		l.Period = cmp.Or(l.Period, day)
	}
	return l
}

func (l Limit) check() error {
	switch {
	case !metricName.MatchString(string(l.Metric)):
		return fmt.Errorf("Metric is %q: use letters, digits, '_', '.' and '-'", l.Metric)
	case l.Rate < 1 || l.Rate > maxUnits:
		return fmt.Errorf("Rate of %s is %d: use 1 to %d", l.Metric, l.Rate, int64(maxUnits))
	case l.Period <= 0:
		return fmt.Errorf("Period of %s is %v: use more than 0", l.Metric, l.Period)
	case !(l.Reserved >= 0 && l.Reserved < 1): // NaN is neither
		return fmt.Errorf("Reserved of %s is %v: use 0 to less than 1", l.Metric, l.Reserved)
	case l.Burst < 0 || l.Burst > l.Usable():
		return fmt.Errorf("Burst of %s is %d: use 1 to %d, or 0 for the default", l.Metric, l.Burst, l.Usable())
	case l.Scope != PerAccount && l.Scope != PerKey && l.Scope != PerPool:
		return fmt.Errorf("Scope of %s is %q: use account, key or pool", l.Metric, l.Scope)
	}
	return l.checkDaily()
}

func (l Limit) checkDaily() error {
	switch {
	case l.Algorithm == Daily && (l.Period != day || l.Burst != 0):
		return fmt.Errorf("a daily limit of %s has a Period of %v and a Burst of %d: leave both out", l.Metric, l.Period, l.Burst)
	case l.Algorithm != Daily && l.ResetAt != 0:
		return fmt.Errorf("ResetAt of %s is %v, and the limit isn't daily: leave it out", l.Metric, l.ResetAt)
	case l.ResetAt < 0 || l.ResetAt >= day:
		return fmt.Errorf("ResetAt of %s is %v: use 0 to less than 24h", l.Metric, l.ResetAt)
	}
	return nil
}

// Usable returns the units per Period that the pool uses at most: Rate less Reserved, and at least 1.
func (l Limit) Usable() int64 {
	return max(1, int64(math.Floor(float64(l.Rate)*(1-l.Reserved)+1e-6)))
}

// name distinguishes the limit from others of its scope. It is part of the names of fields in Redis.
func (l Limit) name() string {
	name := string(l.Metric) + "." + l.Period.String()
	if l.Algorithm == Daily {
		name = string(l.Metric) + ".daily"
	}
	if len(l.Models) > 0 {
		name += "@" + strings.Join(l.Models, ",")
	}
	return name
}

// id names the limit among all limits of a pool.
func (l Limit) id() string { return string(l.Scope) + " " + l.name() }

// counts reports whether the limit counts calls for a model.
func (l Limit) counts(model string) bool { return admission.Matches(l.Models, model) }

// countsModels reports whether a limit counts calls for a model and not those for every model.
func (p *settings) countsModels(model string) bool {
	return slices.ContainsFunc(p.Limits, func(l Limit) bool { return len(l.Models) > 0 && l.counts(model) })
}

// nextReset returns the next reset of a Daily limit. If clocks are put forward over ResetAt, the reset of that day is where
// time.Date normalises it to.
func (l Limit) nextReset(now time.Time) time.Time {
	now = now.In(l.Location)
	for days := 0; ; days++ {
		at := time.Unix(0, 0).UTC().Add(l.ResetAt)
		reset := time.Date(now.Year(), now.Month(), now.Day()+days,
			at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), l.Location)
		if reset.After(now) {
			return reset
		}
	}
}
