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

// askTwo is a program that makes two calls at once. For each it prints its path, the attempts and the answer, and then it
// prints why an attempt was ended. Its arguments are the addresses of Redis and of the provider.
func askTwo(args []string) (err error) {
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: args[0]})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var lost atomic.Int64
	pool, err := caller.New(rdb, caller.Config{
		Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 2, Whole: true, Tuning: caller.Tuning{SessionTTL: stoppedTTL},
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
	var calls sync.WaitGroup
	for _, path := range []string{"/answered", "/hangs"} {
		calls.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, args[1]+path, nil)
			res, err := client.Do(req)
			if err != nil {
				fmt.Println(path, err)
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			fmt.Println(path, string(body), err)
		})
	}
	calls.Wait()
	fmt.Println("lost", lost.Load())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// A process that was stopped beyond its SessionTTL keeps an answer that came in the meantime, and sends only the call again
// that has none.
func TestLease_StoppedProcessKeepsCompleteAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	var mu sync.Mutex
	requests := map[string]int{}
	stopped, answered := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{}, 2)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests[r.URL.Path]++
		first := requests[r.URL.Path] == 1
		mu.Unlock()
		if !first {
			_, _ = io.WriteString(w, "again")
			return
		}
		begun <- struct{}{}
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
			return
		}
		<-stopped
		_, _ = io.WriteString(w, "complete")
		_ = http.NewResponseController(w).Flush()
		close(answered)
	}))
	defer provider.Close()
	child := redistest.Process(t, "askTwo", server.Socket(), provider.URL)
	for range 2 {
		testkit.Receive(t, "a request", begun)
	}
	child.Stop()
	close(stopped)
	testkit.Receive(t, "the answer is sent", answered)
	other := join(t, rdb, concurrency(2), func(c *caller.Config) { c.Tuning.SessionTTL = stoppedTTL })
	hold(t, other)() // waits until the stopped process's permits are free
	child.Cont()
	lines := strings.Join([]string{child.Expect("/answered"), child.Expect("/hangs"), child.Expect("lost")}, "|")
	child.Send("")
	if err := child.Wait(testkit.Patience); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if lines != "complete <nil>|again <nil>|1" || requests["/answered"] != 1 || requests["/hangs"] != 2 {
		t.Errorf("got %q after the requests %v, want the complete answer of one request, and the other call sent again", lines, requests)
	}
}
