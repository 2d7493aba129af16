package testkit

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Bubble runs f in a synctest bubble with an embedded Redis whose time is the bubble's, from 2030 on.
func Bubble(t *testing.T, f func(t *testing.T, server *BubbleServer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins in 2000, and the scripts' time in 2017
		mini := miniredis.NewMiniRedis()
		mini.ClockTTL(true)
		t.Cleanup(mini.Close)
		f(t, &BubbleServer{Miniredis: mini})
	})
}

// BubbleServer is the Redis of a bubble. A connection that subscribes makes the bubble's time stand still, so code under
// test that does needs a client that can't connect for that.
type BubbleServer struct{ *miniredis.Miniredis }

// Client returns a new client, which is closed with the test.
func (s *BubbleServer) Client(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr:   "127.0.0.1:1", // an IP literal: a name would be looked up outside of the bubble
		Dialer: func(context.Context, string, string) (net.Conn, error) { return s.Dial() },
	})
	t.Cleanup(func() {
		if err := rdb.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return rdb
}
