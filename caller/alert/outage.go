package alert

import (
	"context"
	"slices"
	"time"
)

// outage is a time without Redis, in which this replica alone can notify, from memory: the one that led when it began.
type outage struct {
	since time.Time // zero: Redis answers
	led   bool      // this replica led when it began
	entry *entry    // nil: people aren't notified
	got   map[string]bool
}

// redisAway is for a request to Redis that failed.
func (a *Alerter) redisAway(ctx context.Context, err error) {
	a.failed(ctx, err)
	o := &a.redis
	now := time.Now()
	if o.since.IsZero() {
		o.since, o.led = now, a.leads
	}
	if !o.led || now.Sub(o.since) < redisPatience || a.muted(RedisDegraded) {
		return
	}
	if o.entry == nil {
		o.entry = &entry{
			Rule: RedisDegraded, Severity: Critical, Labels: map[string]string{"redis": "unreachable"}, Began: now,
			Summary: "the process that sends alerts can't reach Redis: " + err.Error(),
		}
		o.got = map[string]bool{}
	}
	a.notifyOutage(ctx, false)
}

// redisBack is for a request to Redis that succeeded.
func (a *Alerter) redisBack(ctx context.Context) {
	o := &a.redis
	o.since, o.led = time.Time{}, false
	if o.entry == nil {
		return
	}
	if o.entry.Ended.IsZero() {
		o.entry.Ended = time.Now()
	}
	a.notifyOutage(ctx, true)
	if len(o.got) == 0 || time.Since(o.entry.Ended) >= giveUp {
		o.entry = nil
	}
}

// notifyOutage notifies the receivers that haven't got the beginning, or those that got only that of the end.
func (a *Alerter) notifyOutage(ctx context.Context, end bool) {
	o := &a.redis
	its := o.entry.alert(a.pool)
	its.Summary = a.cfg.clean(its.Summary)
	for i := range a.cfg.Receivers {
		r := &a.cfg.Receivers[i]
		if o.got[r.Name] != end {
			continue
		}
		n := &notification{pool: a.pool, url: a.cfg.URL, alerts: []Alert{its}, at: time.Now()}
		switch err := a.send(ctx, r, n); {
		case err != nil:
			a.failed(ctx, err)
		case end:
			delete(o.got, r.Name)
		default:
			o.got[r.Name] = true
		}
	}
}

func (a *Alerter) muted(rule Rule) bool { return slices.Contains(a.cfg.Mute, rule) }
