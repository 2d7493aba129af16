package admission

import (
	"context"

	"github.com/penstock/penstock/scripts"
)

// Listen subscribes to the messages to this session that a permit may be free. A message is a hint: if it is lost, the next
// poll replaces it.
func (e *redisExchanger) Listen(ctx context.Context, received func()) {
	sub := e.rdb.Subscribe(ctx, scripts.PoolChannel(e.pool, e.session))
	context.AfterFunc(ctx, func() { _ = sub.Close() }) // ends the loop below; an error has no consequence
	for range sub.ChannelWithSubscriptions() {
		received()
	}
}
