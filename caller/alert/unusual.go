package alert

import (
	"fmt"
	"math"
)

const (
	// A share is unusual above unusualFactor times its baseline, if that is also leastUnusual and more than chance explains. It
	// is usual again at half of that.
	unusualFactor = 3
	leastUnusual  = 0.02
	// deviations is by how many standard deviations of the binomial distribution a share must exceed its baseline.
	deviations = 4
	// A baseline needs baselineAttempts attempts, and what is unusual fewestUnusual of them.
	baselineAttempts = 100
	fewestUnusual    = 10
)

// unusual compares a share of attempts in the window with the share before it. While an alert fires, it is compared with the
// baseline that it began with, because what it is about becomes a part of the intervals before the window.
func unusual(rule Rule, what string, n, of, beforeN, beforeOf int64, baseline func(Rule) float64) reading {
	share := float64(n) / float64(max(1, of))
	usual := float64(beforeN) / float64(max(1, beforeOf))
	judged := beforeOf >= baselineAttempts
	if began := baseline(rule); began > 0 {
		usual, judged = began, true
	}
	chance := deviations * math.Sqrt(usual*(1-min(1, usual))/float64(max(1, of)))
	bound := max(leastUnusual, unusualFactor*usual, usual+chance)
	return reading{
		rule: rule, severity: Warning,
		summary: fmt.Sprintf("%s of %d attempts %s, usually %s", percent(share), of, what, percent(usual)),
		fires:   judged && of >= fewest && n >= fewestUnusual && share > bound,
		clears:  n == 0 || of >= fewest && share <= bound/2,
		// A baseline of nothing is remembered as the least number, which is still more than 0.
		baseline: max(usual, math.SmallestNonzeroFloat64),
	}
}
