package caller

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Metric is what a limit counts.
type Metric string

// Common metrics. Any other name of letters, digits, '_', '.' and '-' will do for a metric of the user's own.
const (
	Requests     Metric = "requests"
	Tokens       Metric = "tokens"
	InputTokens  Metric = "input_tokens"
	OutputTokens Metric = "output_tokens"
	MicroDollars Metric = "micro_dollars"
)

// Cost is how much of each metric one call takes. A call is one request unless the cost says otherwise.
type Cost map[Metric]int64

// Algorithm is how the provider counts a limit.
type Algorithm string

const (
	// Window keeps the limit in every window of its length, wherever the provider lays its windows. The default.
	Window Algorithm = "window"
	// Bucket is a bucket that refills continuously, as some providers document.
	Bucket Algorithm = "bucket"
	// Daily is a count that starts anew every day at a time that the provider says.
	Daily Algorithm = "daily"
)

// LimitScope is what has a limit.
type LimitScope string

const (
	// PerAccount: each account has the limit. The default.
	PerAccount LimitScope = "account"
	// PerKey: each key has it.
	PerKey LimitScope = "key"
	// PerPool: all keys of the pool share it. It may be a provider's, or a budget of one's own.
	PerPool LimitScope = "pool"
)

// Limit is one limit: at most Limit units of Metric in Per.
type Limit struct {
	// Metric is what is counted. Required.
	Metric Metric
	// Limit is how many units Per allows: at least 1.
	Rate int64
	// Per is the length of the window, or the time in which the bucket refills: more than 0. A Daily limit has 24 hours,
	// and may leave it out.
	Period time.Duration
	// Headroom is the part of Limit that is never used, from 0 to less than 1: for others who use the same account without
	// this pool. At least one unit is used. Defaults to 0: all of Limit is used.
	Reserved float64
	// Algorithm defaults to Window.
	Algorithm Algorithm
	// Burst is how many units may be used at once, from 1 to Limit less Headroom. A window gives Burst-1 of its units up for it. A
	// call that costs more is admitted when the limit has been idle for the excess, and so takes up to twice its cost;
	// one that costs more than Limit never is. Defaults to 1 for Requests, and to Limit for a Bucket. For other metrics
	// it defaults to a fiftieth of Limit, and grows to what calls cost, up to a quarter of Limit, for as long as there
	// are such calls. A Daily limit has none.
	Burst int64
	// Scope is what has the limit: each account, each key, or the pool. Defaults to PerAccount.
	Scope LimitScope
	// Models are the models that the limit counts, together; '*' stands for any text. Defaults to every call. Calls
	// whose model isn't known are counted by limits without Models alone.
	Models []string
	// Location and ResetAt say when a Daily limit starts anew: at this time after midnight, there. Default to midnight,
	// UTC.
	Location *time.Location
	ResetAt  time.Duration
}

// maxUnits keeps units, and sums of a few, exact in the doubles that Redis' Lua counts with.
const maxUnits = 1 << 50

const day = 24 * time.Hour

// pace is a limit as the script works with it.
type pace struct {
	name     string  // unique among the limits of a scope
	interval float64 // seconds per unit; 0 of a Daily limit
	burst    int64   // units
	grows    bool    // the burst does
}

// pace turns the limit into the emission interval and burst that GCRA works with, so that it holds at the
// provider although a call may take up to slack longer than another to get there.
//
// In any half-open window of length w, GCRA admits less than w/interval + burst units. What the provider sees in a
// window of length Per was admitted within Per+slack, so Limit is kept by interval = (Per+slack)/(Limit-Burst+1). A
// bucket that refills at Limit/Per overflows by no more than the units of slack, which are taken off its burst.
func (l Limit) pace(slack time.Duration) (pace, error) {
	l = l.withDefaults()
	out := pace{name: l.name(), burst: l.Burst}
	if err := l.check(); err != nil {
		return out, err
	}
	most := l.Usable()
	per, late, n := l.Period.Seconds(), slack.Seconds(), float64(most)
	switch l.Algorithm {
	case Window:
		if out.burst == 0 && l.Metric != Requests {
			out.burst, out.grows = most/50, true
		}
		out.burst = max(out.burst, 1)
		out.interval = (per + late) / (n - float64(out.burst) + 1)
	case Bucket:
		room := int64(n - math.Ceil(late*n/per))
		if room < 1 {
			return out, fmt.Errorf("%d %s in %v is less than arrives within the slack of %v: set a smaller Slack",
				most, l.Metric, l.Period, slack)
		}
		out.burst = min(cmp.Or(out.burst, most), room)
		out.interval = per / n
	case Daily:
		out.burst = most
	default:
		return out, errors.New("the algorithm " + string(l.Algorithm) + " is unknown: use window, bucket or daily")
	}
	return out, nil
}

// withDefaults fills in what doesn't depend on anything else.
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
		return fmt.Errorf("the metric %q is not a name: use letters, digits, '_', '.' and '-'", l.Metric)
	case l.Rate < 1 || l.Rate > maxUnits:
		return fmt.Errorf("%d %s can't be a limit: use 1 to %d", l.Rate, l.Metric, int64(maxUnits))
	case l.Period <= 0:
		return fmt.Errorf("%v is no period for %s: use more than 0", l.Period, l.Metric)
	case !(l.Reserved >= 0 && l.Reserved < 1): // NaN is neither
		return fmt.Errorf("a headroom of %v of the limit on %s is outside 0 to less than 1", l.Reserved, l.Metric)
	case l.Burst < 0 || l.Burst > l.Usable():
		return fmt.Errorf("a burst of %d %s is outside 1 to the limit of %d", l.Burst, l.Metric, l.Usable())
	case l.Scope != PerAccount && l.Scope != PerKey && l.Scope != PerPool:
		return fmt.Errorf("the scope %q is unknown: use account, key or pool", l.Scope)
	}
	return l.checkDaily()
}

func (l Limit) checkDaily() error {
	switch {
	case l.Algorithm == Daily && (l.Period != day || l.Burst != 0):
		return fmt.Errorf("a daily limit of %s has a Per of 24h and no Burst: leave both out", l.Metric)
	case l.Algorithm != Daily && l.ResetAt != 0:
		return fmt.Errorf("ResetAt of the limit on %s is for daily limits: leave it out", l.Metric)
	case l.ResetAt < 0 || l.ResetAt >= day:
		return fmt.Errorf("ResetAt is %v: use a time of day, from 0 to less than 24h", l.ResetAt)
	}
	return nil
}

// Usable returns how many units are used in Per at most: Limit less Headroom, and at least 1.
func (l Limit) Usable() int64 {
	return max(1, int64(math.Floor(float64(l.Rate)*(1-l.Reserved)+1e-6)))
}

// name tells the limit from others of its scope. It is part of the names of fields in Redis.
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

// counts reports whether the limit counts calls for a model.
func (l Limit) counts(model string) bool {
	if len(l.Models) == 0 {
		return true
	}
	for _, pattern := range l.Models {
		if matches(pattern, model) {
			return model != ""
		}
	}
	return false
}

// matches reports whether a text matches a pattern in which '*' stands for any text.
func matches(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for text = text[len(head):]; ; text = text[1:] {
		if matches(rest, text) {
			return true
		}
		if text == "" {
			return false
		}
	}
}

// nextReset returns when a Daily limit starts anew next. A day that has no such time, as clocks are put forward,
// starts anew at the time that Go's time.Date makes of it.
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

// counted reports whether the provider still counts what was charged at a time.
func (l *Limit) counted(at time.Time) bool {
	if l.Algorithm == Daily {
		return l.nextReset(at).Equal(l.nextReset(time.Now()))
	}
	return time.Since(at) < l.Period
}
