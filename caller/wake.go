package caller

import (
	"context"
	"time"

	"github.com/penstock/penstock/scripts"
)

// listen hears when permits that this process waits for come back, until ctx ends. A message is a hint: one that is
// lost costs no more than the poll interval.
func (p *pool) listen(ctx context.Context) {
	sub := p.rdb.Subscribe(ctx, scripts.PoolChannel(p.plan.Name, p.plan.Tuning.SessionName))
	context.AfterFunc(ctx, func() { _ = sub.Close() }) // which ends the loop; there is nothing left to say
	for range sub.ChannelWithSubscriptions() {
		p.mu.Lock()
		wake := p.permits
		if wake {
			p.askAt = time.Time{}
		}
		p.mu.Unlock()
		if wake {
			p.wake()
		}
	}
}
