package caller

import (
	"context"
	"fmt"

	"github.com/penstock/penstock/scripts"
)

// send makes a script call and waits for its answer no longer than callTimeout allows. go-redis obeys a context only
// until the command is sent: a call that is given up ends with the client's own timeouts, or with its Close. Should it
// reach Redis after a newer one, it has no effect.
func (p *pool) send(ctx context.Context, call *scripts.PoolCall) (*scripts.PoolReply, error) {
	silent := fmt.Errorf("no answer from Redis within %v", 2*callTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, 2*callTimeout, silent)
	defer cancel()
	select {
	case p.lines <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	type answer struct {
		reply *scripts.PoolReply
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		reply, err := scripts.Admit(ctx, p.rdb, p.plan.Name, call)
		<-p.lines
		answered <- answer{reply, err}
	}()
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
