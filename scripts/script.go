// Package scripts is the wire contract between this library and Redis: every access to Redis is a Lua script of
// this package, behind a Go wrapper that encodes its KEYS and ARGV and decodes its reply.
//
// The package does no more than that: it doesn't wait, retry, log or hold policy. Packages ratelimit, concurrency
// and caller do. PROTOCOL.md describes the same contract for services written in other languages.
package scripts

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names a script by its SHA-1; nothing is secured by it.
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Client is what a script needs of a Redis client: *redis.Client, *redis.ClusterClient and *redis.Ring have it.
type Client interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// script is one Lua script: the source that Redis compiles, and the name that Redis gives it.
type script struct {
	name   string
	source string
	sha    string
}

// newScript joins fragments, shared functions first, into one script. The name is for errors.
func newScript(name string, fragments ...string) *script {
	source := strings.Join(fragments, "\n")
	sum := sha1.Sum([]byte(source)) //nolint:gosec // see the import
	return &script{name: name, source: source, sha: hex.EncodeToString(sum[:])}
}

// run executes the script at most once and returns its reply as go-redis decodes it: by EVALSHA, and by EVAL where
// Redis doesn't have the script yet (NOSCRIPT: nothing was run).
func (s *script) run(ctx context.Context, c Client, keys []string, args []any) (any, error) {
	cmd := s.command(ctx, "evalsha", s.sha, keys, args)
	err := c.Process(ctx, cmd)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = s.command(ctx, "eval", s.source, keys, args)
		err = c.Process(ctx, cmd)
	}
	if err != nil {
		return nil, newError(s.name, keys, err)
	}
	return cmd.Val(), nil
}

func (s *script) command(ctx context.Context, verb, body string, keys []string, args []any) once {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, verb, body, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	all = append(all, args...)
	return once{redis.NewCmd(ctx, all...)}
}

// ints is run for scripts that answer with integers only: they cost no allocation each. args is the whole command;
// its first two elements are overwritten. Its error is the client's.
func (s *script) ints(ctx context.Context, c Client, args []any) ([]int64, error) {
	args[0], args[1] = "evalsha", s.sha
	cmd := onceInts{redis.NewIntSliceCmd(ctx, args...)}
	err := c.Process(ctx, cmd)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", s.source
		cmd = onceInts{redis.NewIntSliceCmd(ctx, args...)}
		err = c.Process(ctx, cmd)
	}
	return cmd.Val(), err
}

// once is a command that go-redis doesn't send again after a lost or late reply: the script may have run.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// onceInts is once for commands that answer with integers.
type onceInts struct{ *redis.IntSliceCmd }

func (onceInts) NoRetry() bool { return true }
