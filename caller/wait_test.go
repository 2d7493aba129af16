package caller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

func nothing(context.Context, *Grant) (int, error) { return 0, nil }

// Whoever waits in vain because Redis is away hears so, not just of the deadline.
func TestRedisAwayIsNamed(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	defer rdb.Close()
	c, err := New(rdb, Config{Name: "p", Keys: []Key{{ID: "k", Secret: NewSecret("s")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = Do(ctx, c, nil, nothing)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want the deadline and the address that doesn't answer", err)
	}
}

// A call whose turn comes after its deadline is sent away at once, also where nobody else waits and another call was
// sent away before.
func TestLateIsRefusedEachTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		c, err := New(rdb, Config{
			Name: "p", Keys: []Key{{ID: "k", Secret: NewSecret("s")}},
			Limits: []Limit{{Metric: Requests, Rate: 1, Period: time.Hour}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := Do(t.Context(), c, nil, nothing); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far above what the test takes
		defer cancel()
		for range 3 {
			if _, err := Do(ctx, c, nil, nothing); !errors.Is(err, ErrDeadline) {
				t.Fatalf("got %v, want ErrDeadline", err)
			}
		}
	})
}
