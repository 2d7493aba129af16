package scripts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// Each kind of failure has the outcome that its caller needs: not run, rejected or unknown.
func TestOutcome_SaysWhatIsKnownOfAFailedCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := t.Context()
	user := func(name string, permissions ...any) *redis.Client {
		args := append([]any{"ACL", "SETUSER", name, "on", ">pw", "~*"}, permissions...)
		if err := admin.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
		opts := server.Options()
		opts.Username, opts.Password = name, "pw"
		rdb := redis.NewClient(opts)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	write := newScript("write", "return redis.call('SET', KEYS[1], 'x')")
	broken := newScript("broken", "return redis.call('SET', KEYS[1])")
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	defer gone.Close()

	for name, tc := range map[string]struct {
		rdb    *redis.Client
		script *script
		want   Outcome
	}{
		"may not run scripts":     {user("a", "+@connection", "+get"), write, Rejected},
		"script may not write":    {user("b", "+@connection", "+@scripting"), write, Rejected},
		"script is wrong":         {admin, broken, Rejected},
		"server can't be dialled": {gone, write, NotRun},
	} {
		_, err := tc.script.run(ctx, tc.rdb, []string{"k"}, nil)
		if err == nil || OutcomeOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}

	if err := admin.ReplicaOf(ctx, "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := write.run(ctx, admin, []string{"k"}, nil); err == nil || OutcomeOf(err) != NotRun {
		t.Errorf("on a replica: %v, want %v", err, NotRun)
	}
	for _, err := range []error{io.EOF, context.DeadlineExceeded, errors.New("something else")} {
		if got := outcome(err); got != Unknown {
			t.Errorf("%v: %v, want %v", err, got, Unknown)
		}
	}
}

// An error of a command inside a script has the same outcome in the words of servers before Redis 7.
func TestOutcome_IsTheSameForErrorsInsideScripts(t *testing.T) {
	t.Parallel()
	const old = "ERR Error running script (call to f_bd6f3018b28bbdb36260f19d3c44afed740db987): @user_script:1: @user_script: 1: "
	for text, want := range map[string]Outcome{
		"READONLY You can't write against a read only replica.":             NotRun,
		old + "-READONLY You can't write against a read only replica. ":     NotRun,
		old + "-NOREPLICAS Not enough good replicas to write. ":             NotRun,
		old + "-OOM command not allowed when used memory > 'maxmemory'. ":   NotRun,
		old + "attempt to index a nil value ":                               Rejected,
		"ERR max number of clients reached":                                 NotRun,
		"WRONGTYPE Operation against a key holding the wrong kind of value": Rejected,
	} {
		if got := outcome(fmt.Errorf("wrapped: %w", reply(text))); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// reply is an error reply of Redis.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}
