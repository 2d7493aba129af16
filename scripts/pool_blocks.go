package scripts

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// PoolBlocks are some of a pool's blocks, and what tells whether the state has lost writes that a session has seen.
type PoolBlocks struct {
	Origin, Generation int64 // 0: there is no state
	Seq                int64 // of the session's last call that the state has; 0: none
	Blocks             map[string]BlockState
}

// ReadPoolBlocks reads the blocks of these names, from KeyBlock or AccountBlock, that there are. It reads only, and may be
// repeated.
func ReadPoolBlocks(ctx context.Context, c Client, pool, session string, names []string) (*PoolBlocks, error) {
	key := PoolKey(pool)
	own := "s:" + wireName(session)
	args := []any{"hmget", key, "g", own}
	for _, n := range names {
		args = append(args, n)
	}
	clock, values := redis.NewTimeCmd(ctx, "time"), redis.NewSliceCmd(ctx, args...)
	for _, cmd := range []redis.Cmder{clock, values} {
		if err := c.Process(ctx, cmd); err != nil {
			return nil, newError("pool_blocks", []string{key}, err)
		}
	}
	text := func(i int) string {
		s, _ := values.Val()[i].(string)
		return s
	}
	out := &PoolBlocks{}
	s := PoolState{Now: Micros(clock.Val()), Blocks: map[string]BlockState{}}
	if header := strings.Fields(text(0)); len(header) == 10 {
		out.Origin, _ = strconv.ParseInt(header[1], 10, 64)
		out.Generation, _ = strconv.ParseInt(header[2], 10, 64)
		offset, _ := strconv.ParseFloat(header[4], 64)
		s.offset = int64(offset * 1e6)
	}
	if session := strings.Fields(text(1)); len(session) > 1 {
		out.Seq, _ = strconv.ParseInt(session[1], 10, 64)
	}
	for i, n := range names {
		s.field(n, text(2+i))
	}
	out.Blocks = s.Blocks
	return out, nil
}
