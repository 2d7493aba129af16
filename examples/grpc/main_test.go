package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstock/penstock/caller"
)

// service is a gRPC service of the test. answer decides on the n-th call, from 1.
type service struct {
	health.UnimplementedHealthServer
	answer func(ctx context.Context, n int, key string) error

	mu    sync.Mutex
	keys  []string // of the calls
	times []time.Time
}

func (s *service) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	key, _ := strings.CutPrefix(strings.Join(md.Get("authorization"), ""), "Bearer ")
	s.mu.Lock()
	s.keys, s.times = append(s.keys, key), append(s.times, time.Now())
	n := len(s.keys)
	s.mu.Unlock()
	if err := s.answer(ctx, n, key); err != nil {
		return nil, err
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

// calls returns the keys and times of the calls so far.
func (s *service) calls() ([]string, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.times
}

// start serves s, and returns its address.
func (s *service) start(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	health.RegisterHealthServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

// pool returns a pool and a client of the service.
func pool(t *testing.T, s *service, secrets string, change func(*caller.Config)) (*caller.Pool, health.HealthClient) {
	t.Helper()
	conn, err := dial(s.start(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	cfg := config(secrets)
	if change != nil {
		change(&cfg)
	}
	p, err := caller.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p, health.NewHealthClient(conn)
}

func ask(t *testing.T, p *caller.Pool, c health.HealthClient) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := check(ctx, p, c)
	if err == nil && got != health.HealthCheckResponse_SERVING {
		t.Errorf("got %v, want SERVING", got)
	}
	return err
}

// The program makes its call with a key of the pool.
func TestRun_AsksService(t *testing.T) {
	s := &service{answer: func(context.Context, int, string) error { return nil }}
	env := map[string]string{"GRPC_ADDR": s.start(t), "GRPC_KEYS": "key-a", "REDIS_URL": "redis://" + miniredis.RunT(t).Addr()}
	var out strings.Builder
	if err := run(t.Context(), func(name string) string { return env[name] }, &out); err != nil || out.String() != "SERVING\n" {
		t.Errorf("got %q and error %v, want SERVING", &out, err)
	}
	if keys, _ := s.calls(); len(keys) != 1 || keys[0] != "key-a" {
		t.Errorf("got calls with %q, want one with key-a", keys)
	}
}

// A RetryInfo of the server, and a pushback in its trailer, are lower bounds of the wait for the next attempt.
func TestCheck_WaitsAsServerSays(t *testing.T) {
	const delay = 400 * time.Millisecond
	for what, refuse := range map[string]func(ctx context.Context) error{
		"RetryInfo": func(context.Context) error {
			s, err := status.New(codes.ResourceExhausted, "quota exceeded").WithDetails(
				&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
			if err != nil {
				return err
			}
			return s.Err()
		},
		"pushback": func(ctx context.Context) error {
			if err := grpc.SetTrailer(ctx, metadata.Pairs(pushbackTrailer, "400")); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "draining")
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := &service{}
			s.answer = func(ctx context.Context, n int, _ string) error {
				if n == 1 {
					return refuse(ctx)
				}
				return nil
			}
			p, c := pool(t, s, "key-a", nil)
			if err := ask(t, p, c); err != nil {
				t.Fatal(err)
			}
			if _, times := s.calls(); len(times) != 2 || times[1].Sub(times[0]) < delay {
				t.Errorf("got calls at %v, want a second one at least %v after the first", times, delay)
			}
		})
	}
}

// A server that pushes back without a time wants no retry.
func TestCheck_IsNotRetriedAgainstPushback(t *testing.T) {
	s := &service{answer: func(ctx context.Context, _ int, _ string) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(pushbackTrailer, "-1"))
		return status.Error(codes.Unavailable, "go away")
	}}
	p, c := pool(t, s, "key-a", nil)
	err := ask(t, p, c)
	if keys, _ := s.calls(); status.Code(err) != codes.Unavailable || len(keys) != 1 {
		t.Errorf("got error %v after %d calls, want Unavailable after one", err, len(keys))
	}
}

// A key that the server doesn't know is left for another one.
func TestCheck_LeavesRejectedKey(t *testing.T) {
	s := &service{answer: func(_ context.Context, _ int, key string) error {
		if key == "revoked" {
			return status.Error(codes.Unauthenticated, "unknown key")
		}
		return nil
	}}
	p, c := pool(t, s, "revoked,key-b", func(cfg *caller.Config) { cfg.Strategy = caller.FirstAvailable })
	for range 5 {
		if err := ask(t, p, c); err != nil {
			t.Fatal(err)
		}
	}
	if keys, _ := s.calls(); len(keys) != 6 || keys[0] != "revoked" {
		t.Errorf("got calls with %q, want one with the revoked key and five with key-b", keys)
	}
}

// What the server refuses for other reasons isn't tried again.
func TestCheck_DoesNotRepeatFaults(t *testing.T) {
	s := &service{answer: func(context.Context, int, string) error { return status.Error(codes.InvalidArgument, "no") }}
	p, c := pool(t, s, "key-a,key-b", nil)
	err := ask(t, p, c)
	if keys, _ := s.calls(); status.Code(err) != codes.InvalidArgument || len(keys) != 1 {
		t.Errorf("got error %v after %d calls, want InvalidArgument after one", err, len(keys))
	}
}
