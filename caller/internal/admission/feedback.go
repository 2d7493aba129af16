package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// report returns a block as a report. group is the name of the model group that the cooldown of an account is for; empty:
// all.
func (b *Block) report(group string, now time.Time) report {
	kind := scripts.CoolBlock
	group = shared(group)
	if b.Model != "" {
		group += ownModel + b.Model
	}
	if b.Disabled {
		kind, group = scripts.DisableBlock, ""
	}
	name := scripts.AccountBlock(b.Account, group)
	if b.Key != "" {
		name = scripts.KeyBlock(b.Key)
	}
	return report{
		PoolReport: scripts.PoolReport{Kind: kind, Block: name, Factor: b.Factor, Most: b.Most, Reason: b.Reason},
		until:      now.Add(b.For),
	}
}

// unblockReport returns the report that ends what disabled a key or, if the key is empty, an account.
func unblockReport(accountID, key string) report {
	name := scripts.AccountBlock(accountID, "")
	if key != "" {
		name = scripts.KeyBlock(key)
	}
	return report{PoolReport: scripts.PoolReport{Kind: scripts.ClearBlock, Block: name}}
}

// urgent returns the reports that Redis gets at once.
func (f *Feedback) urgent(limits []Limit, b *booking, now time.Time) []report {
	var reports []report
	if f.Pace > 0 {
		reports = slowDown(limits, b.target, f.Pace, f.Recover)
	}
	if f.Block != nil {
		reports = append(reports, f.Block.report(b.target.group, now))
	}
	if f.Calm {
		reports = append(reports, calm(b)...)
	}
	if f.Works && b.trial {
		reports = append(reports, unblockReport("", b.Key()), unblockReport(b.Account(), ""))
	}
	return reports
}

// calm returns the reports that the cooldowns of a target and its key are over.
func calm(b *booking) []report {
	names := []string{scripts.KeyBlock(b.Key()), scripts.AccountBlock(b.Account(), "")}
	for _, group := range []string{shared(b.target.group), b.target.group} {
		if group != "" {
			names = append(names, scripts.AccountBlock(b.Account(), group))
		}
	}
	reports := make([]report, len(names))
	for i, name := range names {
		reports[i].PoolReport = scripts.PoolReport{Kind: scripts.CalmBlock, Block: name}
	}
	return reports
}

// quotas returns the reports that Redis gets with the next call.
func (f *Feedback) quotas(limits []Limit, t *target, jitter time.Duration) []report {
	var reports []report
	for i := range f.Quotas {
		q := &f.Quotas[i]
		for n, at := range t.limits {
			if l := &limits[at]; q.concerns(l) {
				if r, ok := usedByOthers(l, q, jitter); ok {
					reports = append(reports, report{counter: t.counters[n], PoolReport: r})
				}
			}
		}
	}
	return reports
}

// learn takes in what an attempt taught, and reports whether the loop must look for reasons to call Redis.
func (c *Controller) learn(now time.Time, a *account, f *Feedback, urgent, quotas []report) (wake bool) {
	first := a.samples.since.IsZero()
	a.samples.add(f.Sample, f.Latency, now)
	a.samples.setInitialLimit(f.Initial, now)
	wake = first && !a.samples.since.IsZero() && c.queue.len() == 0
	if len(quotas) > 0 {
		c.outbox.add(now, quotas...)
	}
	if len(urgent) > 0 {
		c.reportNow(now, urgent...)
		wake = true
	}
	return wake
}

// reportNow puts reports into the outbox that are due at once. What they change may let waiters be admitted.
func (c *Controller) reportNow(now time.Time, reports ...report) {
	c.outbox.add(now, reports...)
	c.outbox.urgent = true
	c.waitFor = forCall
}

// correct puts the units of a booking's limits into the outbox as settlements.
func (c *Controller) correct(b *booking, units func(*Limit) int64) {
	now := time.Now()
	for i, name := range b.target.counters {
		n := units(&c.cfg.Limits[b.target.limits[i]])
		if n == 0 {
			continue
		}
		of := charge{counter: name}
		if n < 0 {
			at, _ := c.clock.Server(b.sendAt)
			of.at = at - at%1_000_000
		}
		c.outbox.settle(now, of, n)
		c.recovery.recordSettlement(name, n)
	}
}
