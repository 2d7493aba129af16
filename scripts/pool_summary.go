package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed pool_summary.lua
var poolSummaryLua string

var poolSummaryScript = newScript("pool_summary", coreLua, poolSummaryLua)

// PoolSummariesKey is the HASH of what the processes of a pool say about themselves, for people who look at the pool.
func PoolSummariesKey(pool string) string { return PoolKey(pool) + ":summaries" }

// PoolSummary is what one process says about itself. Text and Config are the caller's own.
type PoolSummary struct {
	Session string
	Digest  string // of Config
	Text    string
	Age     time.Duration // since it was stored; ReadPoolSummaries sets it
}

// WritePoolSummary stores a summary for the time kept. config is the text that s.Digest names; empty: it is stored already.
// Missing reports that it isn't. It may be repeated.
func WritePoolSummary(
	ctx context.Context, c Client, pool string, s PoolSummary, config string, kept time.Duration,
) (missing bool, err error) {
	keys := []string{PoolSummariesKey(pool)}
	args := []any{wireName(s.Session), strconv.FormatFloat(kept.Seconds(), 'f', -1, 64), wireName(s.Digest), config, s.Text}
	v, err := poolSummaryScript.run(ctx, c, keys, args)
	if err != nil {
		return false, err
	}
	reply, ok := v.([]any)
	if !ok || len(reply) != 1 {
		return false, newError(poolSummaryScript.name, keys, fmt.Errorf("unexpected reply %v", v))
	}
	return reply[0] == int64(1), nil
}

// ReadPoolSummaries returns the summaries of all processes, and the configurations by digest. It needs the rights to read
// only.
func ReadPoolSummaries(ctx context.Context, c Client, pool string) ([]PoolSummary, map[string]string, error) {
	key := PoolSummariesKey(pool)
	now, fields, err := readHash(ctx, c, key)
	if err != nil {
		return nil, nil, newError("pool_summaries", []string{key}, err)
	}
	var all []PoolSummary
	configs := map[string]string{}
	for name, text := range fields {
		kind, rest, _ := strings.Cut(name, ":")
		id, err := url.PathUnescape(rest)
		words := strings.Fields(fields["t:"+rest])
		switch {
		case err != nil:
		case kind == "c":
			configs[id] = text
		case kind == "s" && len(words) == 3:
			at, _ := strconv.ParseFloat(words[0], 64)
			digest, _ := url.PathUnescape(words[2])
			all = append(all, PoolSummary{
				Session: id, Digest: digest, Text: text, Age: time.Duration((float64(now)/1e6 - at) * float64(time.Second)),
			})
		}
	}
	return all, configs, nil
}

// readHash returns Redis' time, in microseconds since 2017, and a HASH, by commands that read only.
func readHash(ctx context.Context, c Client, key string) (now int64, fields map[string]string, err error) {
	clock := redis.NewTimeCmd(ctx, "time")
	if err := c.Process(ctx, clock); err != nil {
		return 0, nil, err
	}
	hash := redis.NewMapStringStringCmd(ctx, "hgetall", key)
	if err := c.Process(ctx, hash); err != nil {
		return 0, nil, err
	}
	return Micros(clock.Val()), hash.Val(), nil
}
