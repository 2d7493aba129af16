package admission

import (
	"time"

	"github.com/penstock/penstock/scripts"
)

// outbox holds the reports that Redis hasn't confirmed.
type outbox struct {
	reports     []report
	settlements map[charge]int64 // units, actual less charged
	unconfirmed *unconfirmed     // settlements that may have reached Redis; until that is known, later ones wait
	since       time.Time        // when the oldest was added
	urgent      bool             // one is due at once
}

// report is one report. It names a block's end by time and a counter by name, which outlive a topology.
type report struct {
	scripts.PoolReport
	counter   string        // empty: the report isn't about a counter
	until     time.Time     // zero: PoolReport.For counts
	confirmed chan struct{} // closed when Redis has confirmed the report; nil: no goroutine waits for that
	rejected  chan error    // gets the error if Redis has rejected the report; capacity 1; nil as confirmed
}

// unconfirmed holds the settlements of a script call whose outcome is unknown. Each later call repeats them with that
// call's seq, and the script skips them if that call ran.
type unconfirmed struct {
	settlements map[charge]int64
	seq         int64     // of the first call that carried them
	sentAt      time.Time // of that call
}

// charge is what a settlement corrects. Debts have no time: they count whenever Redis gets them.
type charge struct {
	counter string // name
	at      int64  // of a refund: when the units were charged, in microseconds since 2017 of Redis' clock, cut to seconds
}

// delivery is what one script call carries of an outbox.
type delivery struct {
	reports     []report
	unconfirmed *unconfirmed
	urgent      bool
}

func (o *outbox) empty() bool { return len(o.reports)+len(o.settlements) == 0 && o.unconfirmed == nil }

// add adds reports.
func (o *outbox) add(now time.Time, reports ...report) {
	o.begin(now)
	o.reports = append(o.reports, reports...)
}

// settle adds units to the settlement of a charge.
func (o *outbox) settle(now time.Time, of charge, units int64) {
	o.begin(now)
	if o.settlements == nil {
		o.settlements = map[charge]int64{}
	}
	o.settlements[of] += units
}

func (o *outbox) begin(now time.Time) {
	if o.empty() {
		o.since = now
	}
}

// drain moves what the call seq carries out of the outbox. Settlements stay as long as earlier ones are unconfirmed.
func (o *outbox) drain(seq int64, now time.Time) delivery {
	d := delivery{reports: o.reports, unconfirmed: o.unconfirmed, urgent: o.urgent}
	o.reports, o.unconfirmed, o.urgent = nil, nil, false
	if d.unconfirmed == nil && len(o.settlements) > 0 {
		d.unconfirmed = &unconfirmed{o.settlements, seq, now}
		o.settlements = nil
	}
	return d
}

// requeue puts back what the call seq carried and Redis hasn't confirmed. A block that is reported twice has no effect.
func (o *outbox) requeue(d delivery, seq int64, outcome scripts.Outcome, now time.Time) {
	o.begin(now)
	o.reports = append(d.reports, o.reports...)
	o.urgent = o.urgent || d.urgent
	if d.unconfirmed == nil || d.unconfirmed.seq < seq || outcome != scripts.NotRun {
		o.unconfirmed = d.unconfirmed
		return
	}
	for of, units := range d.unconfirmed.settlements {
		o.settle(now, of, units)
	}
}

// confirm wakes the goroutines that wait for a report.
func (d *delivery) confirm() {
	for _, r := range d.reports {
		if r.confirmed != nil {
			close(r.confirmed)
		}
	}
}

// reject takes out the reports that goroutines wait for, and wakes these with an error: Redis will reject them again.
func (d *delivery) reject(err error) {
	kept := make([]report, 0, len(d.reports))
	for _, r := range d.reports {
		if r.rejected == nil {
			kept = append(kept, r)
			continue
		}
		r.rejected <- err
	}
	d.reports = kept
}

// encode returns the reports in the script's form. It leaves out those of an account that is gone. memory is the time for
// which Redis keeps the seq of the session's last call. After it the script can't skip a settlement that counted before.
// Then a debt may count twice, and a refund is left out.
func (d *delivery) encode(t *topology, now time.Time, memory time.Duration) []scripts.PoolReport {
	var out []scripts.PoolReport
	for _, r := range d.reports {
		if r.Kind == scripts.FollowLimits {
			continue // see followLimits
		}
		encoded := r.PoolReport
		if r.counter != "" {
			c := t.counter(r.counter)
			if c == nil {
				continue
			}
			encoded.Limit, encoded.Owner = c.limit, c.owner()
		}
		if !r.until.IsZero() {
			encoded.For = r.until.Sub(now)
		}
		out = append(out, encoded)
	}
	if d.unconfirmed == nil {
		return out
	}
	forgotten := now.Add(callTimeout).Sub(d.unconfirmed.sentAt) > memory
	out = append(out, scripts.PoolReport{Kind: scripts.UnlessRan, Seq: d.unconfirmed.seq})
	for of, units := range d.unconfirmed.settlements {
		if c := t.counter(of.counter); c != nil && units != 0 && (units > 0 || !forgotten) {
			out = append(out, scripts.PoolReport{
				Kind: scripts.SettleCounter, Limit: c.limit, Owner: c.owner(), Units: units, Charged: of.at,
			})
		}
	}
	return out
}
