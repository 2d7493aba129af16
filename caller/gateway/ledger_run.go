package gateway

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// run calls Redis while there is a reason, until close.
func (l *ledger) run() {
	defer close(l.done)
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-l.wake:
		case <-flush.C:
			l.returnIdle()
			if l.idle() {
				continue
			}
		case <-l.end:
			for tries := 0; tries < 3 && !l.idle(); {
				if !l.exchange() {
					tries++
				}
			}
			l.refuseAll(errLedgerClosed)
			return
		}
		for again := true; again; {
			if !l.exchange() && !l.pause() {
				break
			}
			l.mu.Lock()
			again = len(l.waiting) > 0
			l.mu.Unlock()
		}
	}
}

// pause waits after a failure. It reports false if the ledger ends.
func (l *ledger) pause() bool {
	select {
	case <-time.After(chargeBackoff):
		return true
	case <-l.end:
		return false
	}
}

// idle reports whether there is nothing to tell Redis.
func (l *ledger) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)+len(l.corrections)+len(l.calls) == 0 && l.unconfirmed == nil
}

// returnIdle returns the reserves that no call has used since the last time.
func (l *ledger) returnIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.reserved {
		if !c.reserve.used {
			l.returnReserve(c)
		}
		c.reserve.used = false
	}
}

// exchange makes one script call and reports whether Redis answered.
func (l *ledger) exchange() bool {
	report, batch := l.compose()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	sent := time.Now()
	reply, err := scripts.ClientUsage(ctx, l.rdb, l.name, report)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed(batch, err)
		return false
	}
	l.unconfirmed = nil
	for i, p := range batch {
		l.answer(p, reply, i, sent)
	}
	return true
}

// compose returns the next script call. What Redis may have counted already is sent again as it was.
func (l *ledger) compose() (*scripts.ClientReport, []*pendingCharge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unconfirmed == nil {
		l.seq++
		u := &scripts.ClientReport{Process: l.process, Seq: l.seq, KeepDays: l.keep}
		for key, units := range l.corrections {
			if len(u.Corrections) == maxReports {
				break
			}
			u.Corrections = append(u.Corrections, scripts.ClientCorrection{Client: key.client, Minute: key.minute, Day: key.day, Units: units})
			delete(l.corrections, key)
		}
		for key, calls := range l.calls {
			if len(u.Calls) == maxReports {
				break
			}
			u.Calls = append(u.Calls, *calls)
			delete(l.calls, key)
		}
		l.unconfirmed = u
	}
	report := *l.unconfirmed
	n := min(len(l.waiting), maxCharges)
	batch := append([]*pendingCharge(nil), l.waiting[:n]...)
	l.waiting = append(l.waiting[:0], l.waiting[n:]...)
	for _, p := range batch {
		report.Charges = append(report.Charges, p.charge)
	}
	return &report, batch
}

// failed puts the charges back that may still wait. One of them may be in Redis already: that counts it twice at most for
// each failure, and so never exceeds a cap. The caller has the lock.
func (l *ledger) failed(batch []*pendingCharge, err error) {
	var left []*pendingCharge
	for _, p := range batch {
		switch {
		case p.left:
			p.asked()
		case l.closed || time.Since(p.since) > chargePatience:
			p.asked()
			p.reply <- chargeReply{err: err}
		default:
			left = append(left, p)
		}
	}
	l.waiting = append(left, l.waiting...)
}

// asked notes that the charge asks for no reserve any more.
func (p *pendingCharge) asked() {
	if p.charge.Reserve != (scripts.ClientUnits{}) {
		p.client.reserve.asked = false
	}
}

// answer hands a charge its result. The caller has the lock.
func (l *ledger) answer(p *pendingCharge, reply *scripts.ClientReply, i int, sent time.Time) {
	p.asked()
	result := reply.Charges[i]
	if !result.Charged() {
		left := reply.MinuteLeft
		if result.Cap() >= 3 {
			left = reply.DayLeft
		}
		p.reply <- chargeReply{err: &overCapError{result.Cap(), left}}
		return
	}
	t := ticket{minute: reply.Minute, day: reply.Day, units: p.charge.Units}
	if result.Reserved() {
		rest := ticket{minute: reply.Minute, day: reply.Day, units: p.charge.Reserve}
		if l.closed || !p.client.reserve.add(rest, sent.Add(reply.MinuteLeft)) {
			l.correct(p.charge.Client, &rest, scripts.ClientUnits{})
		} else {
			l.reserved[p.client] = struct{}{}
		}
	}
	if p.left {
		l.correct(p.charge.Client, &t, scripts.ClientUnits{})
		return
	}
	p.reply <- chargeReply{ticket: &t}
}

// refuseAll ends the waiting charges with an error.
func (l *ledger) refuseAll(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.waiting {
		p.reply <- chargeReply{err: err}
	}
	l.waiting = nil
}
