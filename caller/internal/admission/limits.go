package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// LimitSet is what rules in place of the configuration, as Config.ReadLimits makes it of a text.
type LimitSet struct {
	Limits      []Limit        // those of Config in their order, with other numbers
	Concurrency int            // in place of Config.Concurrency
	Accounts    map[string]int // in place of Account.Concurrency, by account; one that isn't there is as configured
}

// LimitsChange is limits that this process adopts.
type LimitsChange struct {
	Version int64
	Err     error // why this process can't follow, and goes on as before; nil: it follows
}

// LimitsVersionError is the error of limits that are older than those that rule.
type LimitsVersionError struct {
	Version int64 // that was to be set
	Ruling  int64 // that rules
}

// Error names both versions.
func (e *LimitsVersionError) Error() string {
	return fmt.Sprintf("limits of version %d were not set, because version %d rules: use a higher version", e.Version, e.Ruling)
}

// ruling is the limits that this process follows.
type ruling struct {
	version int64 // 0: as configured
	text    string
	restore bool           // Redis has lost them
	changed []LimitsChange // the observer doesn't know these yet
}

// SetLimits makes limits rule for all processes, in the form that Config.ReadLimits reads. It returns when Redis has them
// and this process follows. If a higher version rules, its error is a *LimitsVersionError.
func (c *Controller) SetLimits(ctx context.Context, version int64, text string) error {
	return c.instruct(ctx, report{PoolReport: scripts.PoolReport{Kind: scripts.FollowLimits, Units: version, Text: text}})
}

// followLimits returns the report that a script call begins with; nil:
// this process follows none. Of several to be set the highest version counts.
func (c *Controller) followLimits(d *delivery) []scripts.PoolReport {
	var out scripts.PoolReport
	for _, r := range d.reports {
		if r.Kind == scripts.FollowLimits && r.Units > out.Units {
			out = r.PoolReport
		}
	}
	switch {
	case out.Units > c.ruling.version:
	case out.Units > 0 && out.Units == c.ruling.version: // Redis compares the texts
	case c.ruling.version == 0:
		return nil
	default:
		out = scripts.PoolReport{Kind: scripts.FollowLimits, Units: c.ruling.version}
		if c.ruling.restore {
			out.Text = c.ruling.text
		}
	}
	d.rejectLimits(func(r *report) bool { return r.Units < out.Units || r.Text != out.Text }, out.Units)
	return []scripts.PoolReport{out}
}

// rejectLimits takes the limits that match out of a delivery: a version rules that isn't older.
func (d *delivery) rejectLimits(match func(*report) bool, ruling int64) {
	kept := make([]report, 0, len(d.reports))
	for _, r := range d.reports {
		if r.Kind == scripts.FollowLimits && match(&r) {
			r.rejected <- &LimitsVersionError{r.Units, ruling}
			continue
		}
		kept = append(kept, r)
	}
	d.reports = kept
}

// limitsConfirmed is for a reply: Redis has the limits that the call carried, and this process follows them.
func (c *Controller) limitsConfirmed(now time.Time, d *delivery) {
	c.ruling.restore = false
	for _, r := range d.reports {
		if r.Kind == scripts.FollowLimits && r.Units > c.ruling.version {
			c.adopt(now, r.Units, r.Text)
		}
	}
}

// limitsRule is for an error that says that other limits rule than those that the call followed. It reports whether err
// is one.
func (c *Controller) limitsRule(now time.Time, d *delivery, err error) bool {
	rule, ok := errors.AsType[*scripts.LimitsError](err)
	if !ok {
		return false
	}
	d.rejectLimits(func(r *report) bool { return r.Units <= rule.Version }, rule.Version)
	if rule.Version < c.ruling.version {
		c.ruling.restore = true
	} else {
		c.adopt(now, rule.Version, rule.Text)
	}
	c.waitFor = forCall
	return true
}

// adopt follows limits. The calls that are queued go on with them.
func (c *Controller) adopt(now time.Time, version int64, text string) {
	change := LimitsChange{Version: version}
	set, err := c.cfg.ReadLimits(version, text)
	if err != nil {
		change.Err = err
	} else {
		c.cfg.Limits, c.cfg.Concurrency, c.cfg.concurrencies = set.Limits, set.Concurrency, set.Accounts
		c.limits.Store(&set.Limits)
		c.setTopology(newTopology(&c.cfg, c.topology.accounts, c.groups.list, now))
		c.waitFor = forCall
	}
	c.ruling.version, c.ruling.text, c.ruling.restore = version, text, false
	c.ruling.changed = append(c.ruling.changed, change)
}

// changedLimits returns the changes that the observer doesn't know yet.
func (c *Controller) changedLimits() []LimitsChange {
	changed := c.ruling.changed
	c.ruling.changed = nil
	return changed
}
