package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock/penstock/scripts"
)

const (
	// flushEvery is the longest time for which usage and corrections stay in the process.
	flushEvery = time.Second
	// chargePatience is the longest time for which a call waits for its caps while Redis doesn't answer.
	chargePatience = 5 * time.Second
	// chargeBackoff is the time between two script calls after one has failed.
	chargeBackoff = 100 * time.Millisecond
	// scriptTimeout is the longest time of a script call.
	scriptTimeout = 2 * time.Second
	// maxCharges and maxReports bound one script call.
	maxCharges, maxReports = 256, 256
	// maxModels is the number of models whose usage a client's calls are counted by in a process. Others count as one.
	maxModels = 200
	// otherModels is the name under which those count.
	otherModels = "other"
)

// overCapError is the error of a charge that a cap refuses.
type overCapError struct {
	cap  int           // index of capNames
	left time.Duration // until its window ends
}

func (e *overCapError) Error() string {
	return fmt.Sprintf("the cap of %s is used up", capNames[e.cap])
}

// errLedgerClosed: the gateway is closed.
var errLedgerClosed = errors.New("the gateway is closed")

// ticket is a charge that was made.
type ticket struct {
	minute, day int64
	units       scripts.ClientUnits
}

// ledger holds the clients' accounts in Redis. One goroutine calls Redis: charges that come during a script call share the
// next one, and usage goes with them.
type ledger struct {
	rdb     scripts.Client
	name    string
	process string
	keep    int

	mu          sync.Mutex
	waiting     []*pendingCharge
	corrections map[correctionKey]scripts.ClientUnits
	calls       map[callsKey]*scripts.ClientCalls
	models      map[callsKey]bool     // names under which usage was counted
	unconfirmed *scripts.ClientReport // what Redis may have or not, without charges
	reserved    map[*client]struct{}  // clients with a reserve
	seq         int64
	closed      bool

	wake chan struct{}
	end  chan struct{} // closed by close
	done chan struct{} // closed by run
}

type correctionKey struct {
	client      string
	minute, day int64
}

type callsKey struct{ client, model string }

// pendingCharge is a charge that waits for Redis.
type pendingCharge struct {
	client *client
	left   bool // its caller has left
	charge scripts.ClientCharge
	reply  chan chargeReply // with room for one
	since  time.Time
}

type chargeReply struct {
	ticket *ticket
	err    error
}

func newLedger(rdb scripts.Client, name string, keep int) *ledger {
	l := &ledger{
		rdb: rdb, name: name, keep: keep, process: rand.Text(),
		corrections: map[correctionKey]scripts.ClientUnits{}, calls: map[callsKey]*scripts.ClientCalls{}, models: map[callsKey]bool{},
		reserved: map[*client]struct{}{},
		wake:     make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run()
	return l
}

// charge takes units of the client's caps: from its reserve in this process, or in Redis.
func (l *ledger) charge(ctx context.Context, c *client, units scripts.ClientUnits) (*ticket, error) {
	now := time.Now()
	l.mu.Lock()
	if t := c.reserve.take(now, units); t != nil {
		l.mu.Unlock()
		return t, nil
	}
	if l.closed {
		l.mu.Unlock()
		return nil, errLedgerClosed
	}
	l.returnReserve(c)
	p := &pendingCharge{
		client: c, reply: make(chan chargeReply, 1), since: now,
		charge: scripts.ClientCharge{Client: c.Name, Caps: c.caps, Units: units},
	}
	if !c.reserve.asked {
		p.charge.Reserve = c.wanted(units)
		c.reserve.asked = p.charge.Reserve != scripts.ClientUnits{}
	}
	l.waiting = append(l.waiting, p)
	l.mu.Unlock()
	l.signal()
	select {
	case r := <-p.reply:
		return r.ticket, r.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case r := <-p.reply:
		if r.ticket != nil {
			l.correct(c.Name, r.ticket, scripts.ClientUnits{})
		}
	default:
		p.left = true
	}
	return nil, ctx.Err()
}

// settle replaces a charge's units by the actual ones, and counts what the call used. Both are optional.
func (l *ledger) settle(c *client, t *ticket, actual scripts.ClientUnits, used *scripts.ClientCalls) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t != nil {
		l.correct(c.Name, t, actual)
	}
	if used == nil {
		return
	}
	key := callsKey{c.Name, used.Model}
	if !l.models[key] {
		if len(l.models) >= maxModels && key.model != "" {
			key.model = otherModels
		} else {
			l.models[key] = true
		}
	}
	sum := l.calls[key]
	if sum == nil {
		sum = &scripts.ClientCalls{Client: key.client, Model: key.model}
		l.calls[key] = sum
	}
	sum.Requests += used.Requests
	sum.Input += used.Input
	sum.Output += used.Output
	sum.Microdollars += used.Microdollars
}

// correct notes the difference between a charge and what it should be. The caller has the lock.
func (l *ledger) correct(client string, t *ticket, actual scripts.ClientUnits) {
	if t.units == actual {
		return
	}
	key := correctionKey{client, t.minute, t.day}
	sum := l.corrections[key]
	for i := range sum {
		sum[i] += actual[i] - t.units[i]
	}
	l.corrections[key] = sum
}

// returnReserve gives back what is left of a client's reserve. The caller has the lock.
func (l *ledger) returnReserve(c *client) {
	if c.reserve.held {
		l.correct(c.Name, &c.reserve.ticket, scripts.ClientUnits{})
		c.reserve = reserve{asked: c.reserve.asked}
		delete(l.reserved, c)
	}
}

func (l *ledger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close returns the reserves and sends what is left, until ctx ends.
func (l *ledger) close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		for c := range l.reserved {
			l.returnReserve(c)
		}
		close(l.end)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		return fmt.Errorf("the clients' usage isn't in Redis yet: %w", ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.corrections) + len(l.calls); n > 0 || l.unconfirmed != nil {
		return errors.New("the clients' usage of the last moments is lost: Redis doesn't answer")
	}
	return nil
}
