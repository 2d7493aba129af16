package concurrency

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// refusal is a kind of refusal by Redis, with functions that begin and end it.
type refusal struct {
	prefix  string // of the error
	outcome scripts.Outcome
	begin   func(t *testing.T, rdb *redis.Client)
	end     func(t *testing.T, rdb *redis.Client)
	blocks  bool // Redis refuses every command meanwhile
}

// do sends a command.
func do(args ...any) func(t *testing.T, rdb *redis.Client) {
	return func(t *testing.T, rdb *redis.Client) {
		if err := rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func refusals() map[string]refusal {
	return map[string]refusal{
		"out of memory": {
			prefix: "OOM", outcome: scripts.NotRun,
			begin: do("config", "set", "maxmemory", "1"), end: do("config", "set", "maxmemory", "0"),
		},
		"no permission to run scripts": {
			prefix: "NOPERM", outcome: scripts.Rejected,
			begin: do("acl", "setuser", "default", "-evalsha"), end: do("acl", "setuser", "default", "+@all"),
		},
		"no permission to write": { // fails at the script's first write
			outcome: scripts.Rejected,
			begin:   do("acl", "setuser", "default", "-hset"), end: do("acl", "setuser", "default", "+@all"),
		},
		"too few replicas": {
			prefix: "NOREPLICAS", outcome: scripts.NotRun,
			begin: do("config", "set", "min-replicas-to-write", "1"), end: do("config", "set", "min-replicas-to-write", "0"),
		},
		"a replica": {
			prefix: "READONLY", outcome: scripts.NotRun,
			begin: do("replicaof", "127.0.0.1", "1"), end: do("replicaof", "no", "one"),
		},
		"busy": {prefix: "BUSY", outcome: scripts.NotRun, begin: beBusy, end: do("script", "kill"), blocks: true},
		"loading": {
			prefix: "LOADING", outcome: scripts.NotRun, begin: load, blocks: true,
			end: func(t *testing.T, rdb *redis.Client) { refuses(t, rdb, "") },
		},
	}
}

// beBusy makes Redis run a script that doesn't end.
func beBusy(t *testing.T, rdb *redis.Client) {
	do("config", "set", "lua-time-limit", "10")(t, rdb)
	inBackground(t, rdb, "eval", "while true do end", 0)
	refuses(t, rdb, "BUSY")
}

// load makes Redis load its data for about a second.
func load(t *testing.T, rdb *redis.Client) {
	for i := range 200 {
		rdb.Set(t.Context(), fmt.Sprint("filler", i), make([]byte, 2048), 0)
	}
	do("config", "set", "loading-process-events-interval-bytes", "1024")(t, rdb)
	do("config", "set", "key-load-delay", "10000")(t, rdb) // microseconds
	inBackground(t, rdb, "debug", "reload")
	refuses(t, rdb, "LOADING")
}

// inBackground sends a command that takes as long as the refusal does.
func inBackground(t *testing.T, rdb *redis.Client, args ...any) {
	t.Helper()
	opts := *rdb.Options()
	opts.ReadTimeout, opts.MaxRetries = time.Minute, -1
	other := redis.NewClient(&opts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = other.Do(context.WithoutCancel(t.Context()), args...).Err() // it is killed, or Redis ends
	}()
	t.Cleanup(func() {
		<-done
		_ = other.Close()
	})
}

// refuses waits until Redis refuses with an error of such a prefix, or with none if that is empty.
func refuses(t *testing.T, rdb *redis.Client, prefix string) {
	t.Helper()
	testkit.Eventually(t, "Redis refuses with "+prefix, func() bool {
		err := rdb.Get(t.Context(), "filler0").Err()
		if prefix == "" {
			return err == nil || errors.Is(err, redis.Nil)
		}
		return redis.HasErrorPrefix(err, prefix)
	})
}

// During a refusal the error has its reason, nothing is written, and leases live on. After it, permits are granted again.
func TestRefusal_IsReportedAndEnds(t *testing.T) {
	t.Parallel()
	for name, r := range refusals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var args []redistest.Option
			if r.prefix == "LOADING" {
				args = append(args, redistest.WithArgs("--enable-debug-command", "yes"))
			}
			server := redistest.Start(t, args...)
			rdb := server.Client(t)
			s := newTest(t, server.Client(t), Config{Limit: 2, Outage: FailClosed, IdleTimeout: -1})
			l := acquire(t, s, 1)
			r.begin(t, rdb)
			var before map[string]string
			if !r.blocks {
				before = rdb.HGetAll(t.Context(), scripts.SemaphoreKey("test")).Val()
			}
			_, err := s.Acquire(testkit.Context(t))
			if !errors.Is(err, ErrUnavailable) || scripts.OutcomeOf(err) != r.outcome || !redis.HasErrorPrefix(err, r.prefix) {
				t.Errorf("Acquire: got %v (%v), want %v and %q", err, scripts.OutcomeOf(err), r.outcome, r.prefix)
			}
			if l.Err() != nil || l.Context().Err() != nil {
				t.Errorf("the lease: got %v, want nil", l.Err())
			}
			if after := rdb.HGetAll(t.Context(), scripts.SemaphoreKey("test")).Val(); !r.blocks && !maps.Equal(before, after) {
				t.Errorf("the HASH: got %q, want %q", after, before)
			}
			r.end(t, rdb)
			back(t, s)
			second := acquire(t, s, 1)
			if sum, st := allocated(t, s); sum != 2 || l.Err() != nil {
				t.Errorf("allocated permits: got %d and lease error %v, want 2 and nil: %+v", sum, l.Err(), st)
			}
			second.Release()
			l.Release()
			returned(t, s)
		})
	}
}
