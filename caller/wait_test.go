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

// The error of a call that waits in vain while Redis is away names Redis beside the deadline.
func TestRedisAway_IsNamedBesideTheDeadline(t *testing.T) {
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

// A call without capacity before its deadline is refused at once, also if no other call waits and one was refused before.
func TestDeadline_IsRefusedEachTime(t *testing.T) {
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
