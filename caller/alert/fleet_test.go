package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/alert"
	"github.com/penstock/penstock/internal/testkit"
)

const canary = "sk-canary-7d1f-secret"

// inbox is a receiver that accepts everything.
type inbox struct {
	mu   sync.Mutex
	got  []string // status and rule
	from []int    // the replica that sent it
	text strings.Builder
}

// replica returns the client of a replica, for the inbox.
func (b *inbox) replica(i int) *http.Client { return &http.Client{Transport: arrival{b, i}} }

type arrival struct {
	inbox *inbox
	from  int
}

func (a arrival) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var v struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	a.inbox.mu.Lock()
	defer a.inbox.mu.Unlock()
	a.inbox.text.Write(body)
	for _, its := range v.Alerts {
		a.inbox.got = append(a.inbox.got, its.Status+" "+its.Labels["alertname"])
		a.inbox.from = append(a.inbox.from, a.from)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (b *inbox) read() (got []string, from []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got, b.from
}

// member is a replica: a pool with traffic, and an Alerter.
type member struct {
	rdb  *redis.Client
	pool *caller.Pool
	stop context.CancelFunc
	done sync.WaitGroup
}

var errFails = errors.New("the provider says 500 for " + canary)

// newMember starts a replica that makes a call a second. Of twenty, failing fail.
func newMember(t *testing.T, server *testkit.BubbleServer, box *inbox, i int, failing *atomic.Int64) *member {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) { return server.Dial() }
	m := &member{rdb: redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: dial})}
	var err error
	m.pool, err = caller.New(m.rdb, caller.Config{
		Name: "prod", Keys: []caller.Key{{ID: "k1", Secret: caller.NewSecret(canary)}},
		Limits: []caller.Limit{{Metric: caller.Requests, Rate: 6000, Period: time.Minute}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alert.New(m.rdb, "prod", m.pool, alert.Config{
		Receivers: []alert.Receiver{{Kind: alert.Webhook, URL: caller.NewSecret("https://hook/" + canary)}}, Client: box.replica(i),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.stop = cancel
	m.done.Go(func() { _ = a.Run(ctx) })
	m.done.Go(func() {
		for n := int64(0); ctx.Err() == nil; n++ {
			_, _ = caller.Do(ctx, m.pool, nil, func(context.Context, *caller.Grant) (int, error) {
				if n%20 < failing.Load() {
					return 0, errFails
				}
				return 0, nil
			})
			time.Sleep(time.Second)
		}
	})
	return m
}

// kill ends a replica as a crash does: nothing is given back, in Redis or elsewhere.
func (m *member) kill(t *testing.T) {
	t.Helper()
	if err := m.rdb.Close(); err != nil {
		t.Error(err)
	}
	m.stop()
	m.done.Wait()
}

// Failures of 15 % for a minute, in a fleet of three, are one alert and one recovery. That the sender is killed in between
// changes nothing about that, whether it is killed while they fail or after.
func TestAlerter_SaysItOnce(t *testing.T) {
	for _, killedAfter := range []time.Duration{0, 40 * time.Second, 70 * time.Second} {
		t.Run(fmt.Sprintf("killed after %v", killedAfter), func(t *testing.T) {
			testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
				var failing atomic.Int64
				box := &inbox{}
				var all []*member
				for i := range 3 {
					all = append(all, newMember(t, server, box, i, &failing))
				}
				alive := map[int]*member{0: all[0], 1: all[1], 2: all[2]}
				time.Sleep(time.Minute)
				if got, _ := box.read(); len(got) != 0 {
					t.Errorf("all is well: got %v, want no alert", got)
				}
				failing.Store(3)
				begun := time.Now()
				for time.Since(begun) < time.Minute+killedAfter {
					time.Sleep(time.Second)
					if time.Since(begun) >= time.Minute {
						failing.Store(0)
					}
					if _, from := box.read(); killedAfter > 0 && len(from) == 1 && time.Since(begun) >= killedAfter && alive[from[0]] != nil {
						alive[from[0]].kill(t)
						delete(alive, from[0])
					}
				}
				failing.Store(0)
				time.Sleep(3 * time.Minute)
				want := "[firing penstock_failure_rate resolved penstock_failure_rate]"
				got, from := box.read()
				if fmt.Sprint(got) != want {
					t.Errorf("got %v from %v, want %s", got, from, want)
				}
				if len(from) == 2 && (killedAfter > 0) != (from[0] != from[1]) {
					t.Errorf("senders: got %v, want another one only after the first was killed", from)
				}
				if strings.Contains(box.text.String(), canary) {
					t.Errorf("got %s, want no secret in it", &box.text)
				}
				for _, m := range all {
					m.stop()
					m.done.Wait()
					_ = m.pool.Close(context.Background())
					_ = m.rdb.Close()
				}
				synctest.Wait()
			})
		})
	}
}
