package redistest

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { Main(m, Programs{"echo": echo, "abandon": abandon}) }

// Tests at the same time have different databases.
func TestClient_HasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			rdb := Client(t)
			if n := rdb.DBSize(ctx).Val(); n != 0 {
				t.Fatalf("database has %d keys at the start, want none", n)
			}
			if n, err := rdb.Incr(ctx, "n").Result(); n != 1 || err != nil {
				t.Fatalf("Incr = %d, %v; want 1: another test uses this database", n, err)
			}
			if n, err := Another(t, rdb).Incr(ctx, "n").Result(); n != 2 || err != nil {
				t.Fatalf("Incr by another client = %d, %v; want 2", n, err)
			}
		})
	}
}

// A database is empty for the next test.
func TestClient_ReusesDatabases(t *testing.T) {
	var s sharedServer
	s.server = &Server{}
	for range 3 * databases {
		db, _, err := s.acquire()
		if err != nil {
			t.Fatal(err)
		}
		s.release(db)
	}
}

// Each runs the test on a real Redis and on miniredis.
func TestEach_RunsOnBoth(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		if err := rdb.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	})
}

// A killed server loses its data and starts again at the same address.
func TestServer_KillAndRestart(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]Option{"unix": nil, "tcp": {WithTCP()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := Start(t, opts...)
			rdb := s.Client(t)
			if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			s.Kill()
			if err := rdb.Ping(ctx).Err(); err == nil {
				t.Fatal("a killed server still answers")
			}
			s.Restart()
			if n, err := rdb.Exists(ctx, "k").Result(); n != 0 || err != nil {
				t.Fatalf("Exists = %d, %v; want an empty server", n, err)
			}
		})
	}
}

// A paused server doesn't reply, and executes the waiting commands when it continues.
func TestServer_PauseAndResume(t *testing.T) {
	t.Parallel()
	s := Start(t, WithArgs("--maxmemory", "64mb"))
	opts := s.Options()
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries = -1
	rdb := open(t, opts)
	if got := rdb.ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; got != "67108864" {
		t.Errorf("maxmemory = %q, want the argument's", got)
	}
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err == nil {
		t.Fatal("a paused server answers")
	}
	s.Resume()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// A server's process and folder are gone after its test.
func TestServer_LeavesNothing(t *testing.T) {
	t.Parallel()
	needServer(t)
	var s *Server
	t.Run("use", func(t *testing.T) {
		s = Start(t)
		s.Pause() // a stopped process must not survive either
	})
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is left: %v", s.dir, err)
	}
	if err := resume(s.process.cmd.Process); err == nil {
		t.Error("the process still runs")
	}
}

// A server that can't start is an error.
func TestServer_ThatCannotStartFails(t *testing.T) {
	t.Parallel()
	needServer(t)
	s, err := newServer(settings{args: []string{"--no-such-setting", "1"}})
	if err == nil {
		s.close()
		t.Fatal("no error for a wrong setting")
	}
	t.Log(err)
}
