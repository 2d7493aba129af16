package ratelimit

import "fmt"

// Charge is what a call takes of one limit.
type Charge struct {
	Key   string // names the limit; the charges of one call have different keys
	Limit Limit
	Cost  int // in units; 0 or more
}

// items checks the charges and looks up their entries. It appends to buf.
func (l *Limiter) items(buf []item, charges []Charge) ([]item, error) {
	if len(charges) == 0 {
		return nil, &Error{Err: fmt.Errorf("%w: a call needs at least one charge", ErrInvalid)}
	}
	if len(charges) > l.cfg.MaxKeys {
		return nil, failure(charges, 0, fmt.Errorf("%w: %d charges in one call, Config.MaxKeys is %d",
			ErrInvalid, len(charges), l.cfg.MaxKeys))
	}
	for i := range charges {
		c := &charges[i]
		if err := c.Limit.check(c.Cost); err != nil {
			return nil, failure(charges, i, err)
		}
		buf = append(buf, item{e: l.entry(c.Key), limit: c.Limit, cost: c.Cost})
		for j := range i {
			if buf[j].e == buf[i].e {
				return nil, failure(charges, i, fmt.Errorf("%w: two limits of one call have the same key", ErrInvalid))
			}
		}
		if buf[i].e.tag() != buf[0].e.tag() {
			return nil, failure(charges, i, ErrCrossSlot)
		}
	}
	return buf, nil
}

// failure returns the error of a call on several limits, caused by charge i.
func failure(charges []Charge, i int, err error) *Error {
	c := charges[i]
	return &Error{Key: c.Key, Limit: c.Limit, Cost: c.Cost, Err: err}
}
