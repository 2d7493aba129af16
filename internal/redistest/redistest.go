// Package redistest runs a real Redis for tests: a redis-server that belongs to the test binary. It starts at the first use
// and ends with the binary.
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
//
//	func TestAllow(t *testing.T) {
//		t.Parallel()
//		rdb := redistest.Client(t) // an empty database, not shared with any other test
//		...
//	}
//
// What a test can use, from the fastest to the slowest:
//
//	Mini      an embedded miniredis: no process, settable clock, works in a synctest bubble
//	Client    a database of the package's redis-server, over a unix socket
//	Each      the same test on both
//	Faults    the same server, with replies lost, delayed, connections reset at an exact command
//	Start     a redis-server of the test's own, to be killed, stopped, restarted, or given other settings
//	Process   a function of the test binary in a process of its own, to be killed or stopped
//	Listen    (of Faults) the same faults for such processes
//	StartSentinel, StartCluster
//	          several servers, with failover, crashes and slot migration
//
// Databases of one server share the scripts that it has cached, its Pub/Sub channels and its settings. A test that
// flushes scripts, flushes everything, changes the configuration or counts subscribers needs Start.
//
// Without redis-server in PATH the tests that need one are skipped, with a line on the terminal at the end; with the
// environment variable CI set they fail. PENSTOCK_REDIS_SERVER names another server to test on: one of another version,
// or valkey-server.
package redistest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// bound is how long the package waits for a process or a connection before it calls that a failure. It is far above
// what even a loaded machine needs: nothing waits that long unless something is broken.
const bound = 30 * time.Second

// Main runs the tests of a package, stops the package's redis-server, reports goroutines that the tests left behind
// as a failure, and exits. Call it from TestMain. In a process that Process has started, it runs the program instead.
func Main(m *testing.M, programs ...Programs) {
	runProgram(programs)
	code := m.Run()
	shared.stop()
	reportSkipped()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left by the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Client returns a client of an empty database of the package's redis-server. No other test uses that database until
// t has ended; then the client is closed. Without redis-server the test is skipped, or fails if CI is set. The client
// has go-redis's default options.
func Client(t testing.TB) *redis.Client {
	t.Helper()
	needServer(t)
	db, server, err := shared.acquire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shared.release(db) })

	opts := server.Options()
	opts.DB = db
	rdb := open(t, opts)
	// At the start rather than at the end: a test that was cut short leaves nothing for the next either.
	if err := rdb.FlushDB(context.Background()).Err(); err != nil {
		t.Fatalf("empty database %d: %v", db, err)
	}
	return rdb
}

// Another returns one more client of the same server and database as rdb, as another replica of a service would
// have. It is closed when the test ends.
func Another(t testing.TB, rdb *redis.Client) *redis.Client {
	t.Helper()
	opts := *rdb.Options()
	return open(t, &opts)
}

// Mini returns an embedded miniredis and a client of it; both are closed when the test ends.
func Mini(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	m := miniredis.RunT(t)
	return m, open(t, &redis.Options{Addr: m.Addr()})
}

// Each runs f twice, as the subtests "redis" (see Client) and "miniredis" (see Mini). f may call t.Parallel.
func Each(t *testing.T, f func(t *testing.T, rdb *redis.Client)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { f(t, Client(t)) })
	t.Run("miniredis", func(t *testing.T) {
		_, rdb := Mini(t)
		f(t, rdb)
	})
}

func open(t testing.TB, opts *redis.Options) *redis.Client {
	rdb := redis.NewClient(opts)
	// A test may close it earlier; a second Close returns an error that means nothing.
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
