package caller_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// stoppedTTL is the SessionTTL of a process that is stopped.
const stoppedTTL = 4 * time.Second

// stoppedCalls is the number of calls whose answers come while the process is stopped. Where each would have to race the end of
// its lease, some lose. stoppedAnswer is such an answer, which is more than one Read.
const stoppedCalls = 20

var stoppedAnswer = strings.Repeat("complete ", 4<<10)

// askMany is a program that makes stoppedCalls calls and another one at once. It prints the number of complete answers, the
// other call's answer, and the number of attempts that lost their lease. Its arguments are the addresses of Redis and of the
// provider.
func askMany(args []string) (err error) {
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: args[0]})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var lost atomic.Int64
	pool, err := caller.New(rdb, caller.Config{
		Name: "p", Keys: []caller.Key{key("k")}, Concurrency: stoppedCalls + 1, Whole: true, Tuning: caller.Tuning{SessionTTL: stoppedTTL},
		Hooks: caller.Hooks{Attempted: func(_ context.Context, a caller.Attempt) {
			if errors.Is(a.Err, caller.ErrLeaseLost) {
				lost.Add(1)
			}
		}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(ctx)) }()
	client := &http.Client{Transport: pool.Transport(nil, caller.TransportConfig{})}
	ask := func(path string) string {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, args[1]+path, nil)
		res, err := client.Do(req)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body) + fmt.Sprint(err)
	}
	var complete atomic.Int64
	var calls sync.WaitGroup
	for range stoppedCalls {
		calls.Go(func() {
			if ask("/answered") == stoppedAnswer+fmt.Sprint(nil) {
				complete.Add(1)
			}
		})
	}
	other := ask("/hangs")
	calls.Wait()
	fmt.Println("complete", complete.Load())
	fmt.Println("other", other)
	fmt.Println("lost", lost.Load())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// A process that was stopped beyond its SessionTTL keeps answers that came in the meantime, and sends only the call again that
// has none.
func TestLease_StoppedProcessKeepsCompleteAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	var answered, hung atomic.Int64 // requests
	stopped := make(chan struct{})
	begun, sent := make(chan struct{}, stoppedCalls+1), make(chan struct{}, stoppedCalls)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			if hung.Add(1) > 1 {
				_, _ = io.WriteString(w, "again")
				return
			}
			begun <- struct{}{}
			<-r.Context().Done()
			return
		}
		if answered.Add(1) > stoppedCalls {
			return // a repeated one
		}
		begun <- struct{}{}
		<-stopped
		w.Header().Set("Content-Length", strconv.Itoa(len(stoppedAnswer)))
		_, _ = io.WriteString(w, stoppedAnswer)
		_ = http.NewResponseController(w).Flush()
		sent <- struct{}{}
	}))
	defer provider.Close()
	child := redistest.Process(t, "askMany", server.Socket(), provider.URL)
	for range stoppedCalls + 1 {
		testkit.Receive(t, "a request", begun)
	}
	child.Stop()
	close(stopped)
	for range stoppedCalls {
		testkit.Receive(t, "the answer is sent", sent)
	}
	other := join(t, rdb, concurrency(stoppedCalls+1), func(c *caller.Config) { c.Tuning.SessionTTL = stoppedTTL })
	hold(t, other)() // waits until the stopped process's permits are free
	child.Cont()
	complete, again, lost := child.Expect("complete"), child.Expect("other"), child.Expect("lost")
	child.Send("")
	if err := child.Wait(testkit.Patience); err != nil {
		t.Error(err)
	}
	if complete != strconv.Itoa(stoppedCalls) || answered.Load() != stoppedCalls {
		t.Errorf("got %s complete answers after %d requests, want %d after as many", complete, answered.Load(), stoppedCalls)
	}
	if again != "again<nil>" || lost != "1" || hung.Load() != 2 {
		t.Errorf("got %q after %d requests and %s lost leases, want the call without an answer sent again", again, hung.Load(), lost)
	}
}
