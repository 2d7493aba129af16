// Command grpc asks a gRPC service for its health, over a pool of API keys:
//
//	GRPC_ADDR=localhost:50051 GRPC_KEYS=key-a,key-b REDIS_URL=redis://localhost:6379/0 go run .
//
// A gRPC status needs no adapter: Do reads the code and the RetryInfo of an error. The interceptor in pushback.go adds what is
// in a trailer, which an error doesn't carry.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/penstock/penstock/caller"
)

func main() {
	if err := run(context.Background(), os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env func(string) string, out io.Writer) (err error) {
	options, err := redis.ParseURL(env("REDIS_URL"))
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	pool, err := caller.New(rdb, config(env("GRPC_KEYS")))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close(ctx)) }()
	conn, err := dial(env("GRPC_ADDR"))
	if err != nil {
		return err
	}
	defer conn.Close()
	status, err := check(ctx, pool, health.NewHealthClient(conn))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, status)
	return nil
}

// config returns the configuration of a pool whose keys have ten requests a second each.
func config(secrets string) caller.Config {
	cfg := caller.Config{
		Name:   "grpc",
		Limits: []caller.Limit{{Metric: caller.Requests, Rate: 10, Period: time.Second, Scope: caller.PerKey}},
	}
	for i, secret := range strings.Split(secrets, ",") {
		cfg.Keys = append(cfg.Keys, caller.Key{ID: fmt.Sprint("key-", i+1), Secret: caller.NewSecret(secret)})
	}
	return cfg
}

// dial returns a connection whose calls the pool alone retries. A service outside of this machine needs TLS credentials.
func dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithUnaryInterceptor(pushback),
	)
}

// check makes one call of the pool, with the granted key in the metadata.
func check(ctx context.Context, pool *caller.Pool, client health.HealthClient) (health.HealthCheckResponse_ServingStatus, error) {
	return caller.Do(ctx, pool, nil, func(ctx context.Context, g *caller.Grant) (health.HealthCheckResponse_ServingStatus, error) {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+g.Secret())
		res, err := client.Check(ctx, &health.HealthCheckRequest{})
		return res.GetStatus(), err
	})
}
