package caller

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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
)

// Limit is one limit of an account: at most Limit units of Metric in Per.
type Limit struct {
	// Metric is what is counted. Required.
	Metric Metric
	// Limit is how many units Per allows: at least 1.
	Limit int64
	// Per is the length of the window, or the time in which the bucket refills: more than 0.
	Per time.Duration
	// Algorithm defaults to Window.
	Algorithm Algorithm
	// Burst is how many units may be used at once, from 1 to Limit. A window gives Burst-1 of its units up for it. A
	// call that costs more is admitted when the limit has been idle for the excess, and one that costs more than
	// Limit never. Defaults to 1 for Requests, to a fiftieth of Limit for other metrics, and to Limit for a Bucket.
	Burst int64
}

// maxUnits keeps units, and sums of a few, exact in the doubles that Redis' Lua counts with.
const maxUnits = 1 << 50

// pace turns the limit into the emission interval and burst that GCRA works with, so that it holds at the
// provider although a call may take up to slack longer than another to get there.
//
// In any half-open window of length w, GCRA admits less than w/interval + burst units. What the provider sees in a
// window of length Per was admitted within Per+slack, so Limit is kept by interval = (Per+slack)/(Limit-Burst+1). A
// bucket that refills at Limit/Per overflows by no more than the units of slack, which are taken off its burst.
func (l Limit) pace(slack time.Duration) (pace, error) {
	limit := pace{name: string(l.Metric) + "." + l.Per.String(), burst: l.Burst}
	switch {
	case !metricName.MatchString(string(l.Metric)):
		return limit, fmt.Errorf("the metric %q is not a name: use letters, digits, '_', '.' and '-'", l.Metric)
	case l.Limit < 1 || l.Limit > maxUnits:
		return limit, fmt.Errorf("%d %s can't be a limit: use 1 to %d", l.Limit, l.Metric, int64(maxUnits))
	case l.Per <= 0:
		return limit, fmt.Errorf("%v is no period for %s: use more than 0", l.Per, l.Metric)
	case l.Burst < 0 || l.Burst > l.Limit:
		return limit, fmt.Errorf("a burst of %d %s is outside 1 to the limit of %d", l.Burst, l.Metric, l.Limit)
	}
	per, late, n := l.Per.Seconds(), slack.Seconds(), float64(l.Limit)
	switch cmp.Or(l.Algorithm, Window) {
	case Window:
		if limit.burst == 0 && l.Metric != Requests {
			limit.burst = l.Limit / 50
		}
		limit.burst = max(limit.burst, 1)
		limit.interval = (per + late) / (n - float64(limit.burst) + 1)
	case Bucket:
		room := int64(n - math.Ceil(late*n/per))
		if room < 1 {
			return limit, fmt.Errorf("%d %s in %v is less than arrives within the slack of %v: set a smaller Slack",
				l.Limit, l.Metric, l.Per, slack)
		}
		limit.burst = min(cmp.Or(limit.burst, l.Limit), room)
		limit.interval = per / n
	default:
		return limit, errors.New("the algorithm " + string(l.Algorithm) + " is unknown: use window or bucket")
	}
	return limit, nil
}
