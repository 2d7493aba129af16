package caller

import "slices"

// Settle tells what the call really cost, where its answer says so and Do is used; Transport finds it by itself. For each
// metric in actual, what the estimate had too much may be used again by the fleet, and what it had too little is charged.
// So leave out what the provider doesn't give back. Only the first call of it counts.
func (g *Grant) Settle(actual Cost) {
	g.correct(actual, true, func(Metric, int64) bool { return true })
}

// settle corrects what was charged by what the call really cost, for the metrics that the provider corrects, too. Of an
// answer that isn't whole only what is above the estimate counts: the rest of the call's cost isn't known.
func (g *Grant) settle(actual Cost, whole bool) {
	g.correct(actual, whole, func(m Metric, difference int64) bool {
		return (whole || difference > 0) && slices.Contains(g.pool.plan.Profile.Settled, m)
	})
}

func (g *Grant) correct(actual Cost, whole bool, counts func(m Metric, difference int64) bool) {
	if g.settled.Swap(true) {
		return
	}
	p := g.pool.plan
	if whole {
		p.prompts.learn(g.model, g.prompt, actual[InputTokens])
	}
	var difference Cost
	for i, m := range p.metrics {
		n, ok := actual[m]
		d := min(max(n, 0), maxUnits) - g.cost[i]
		if !ok || d == 0 || !counts(m, d) {
			continue
		}
		if difference == nil {
			difference = Cost{}
		}
		difference[m] = d
	}
	if difference != nil {
		g.pool.settle(g, difference)
	}
	if hook := p.Hooks.UsageRead; hook != nil {
		estimated := Cost{}
		for i, m := range p.metrics {
			estimated[m] = g.cost[i]
		}
		hook(Usage{
			Key: g.Key, Account: g.Account, Model: g.model, Ratio: p.prompts.of(g.model),
			Estimated: estimated, Actual: actual, Settled: difference,
		})
	}
}
