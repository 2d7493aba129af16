// Command clients runs programs in Python and Node as their users write them: first through two replicas of examples/gateway
// on one Redis, then straight at the provider. Only the base URL and the key differ.
//
//	(cd examples/clients/node && npm ci)
//	go run ./examples/clients [-only NAME] [-redis redis://…]
//
// It needs python3 with aiohttp, httpx and tenacity, and node. The provider is a simulated one that counts strictly. The
// exit code is 0 if every call through the gateway was answered, the provider sent no 429, and every program that saturates
// the quota used at least 98 % of it. Where the machine is too busy to judge the last, a line says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func main() {
	only := flag.String("only", "", "run the program of this `name` alone")
	url := flag.String("redis", "", "`URL` of the Redis of the replicas (default: redis-server, or an embedded one)")
	python := flag.String("python", "/usr/bin/python3", "`path` of the interpreter that has the packages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only, *url, *python)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, url, python string) error {
	dir, err := os.MkdirTemp("", "clients")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "gateway")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./examples/gateway")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the gateway, from the top of the repository: %w\n%s", err, out)
	}
	if url == "" {
		var stop func()
		if url, stop, err = startRedis(ctx, dir); err != nil {
			return err
		}
		defer stop()
	}
	fmt.Println("| program | calls | at | answered | 429s at the provider | quota used | time |\n|---|---|---|---|---|---|---|")
	var errs []error
	var straight sync.WaitGroup
	defer straight.Wait()
	for _, p := range programs(python) {
		if only != "" && only != p.name {
			continue
		}
		s := &scene{program: p, dir: dir, binary: binary, redis: url}
		r, err := s.through(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.write("gateway")
		errs = append(errs, r.check())
	}
	for _, p := range programs(python) { // side by side: nothing of theirs is checked
		straight.Go(func() {
			s := &scene{program: p}
			if r, err := s.straight(ctx); err == nil && (only == "" || only == p.name) {
				r.write("provider")
			}
		})
	}
	straight.Wait()
	return errors.Join(errs...)
}

// startRedis starts redis-server if it is installed, or an embedded Redis, and returns its URL.
func startRedis(ctx context.Context, dir string) (url string, stop func(), _ error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		embedded := miniredis.NewMiniRedis()
		if err := embedded.Start(); err != nil {
			return "", nil, err
		}
		return "redis://" + embedded.Addr(), embedded.Close, nil
	}
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.CommandContext(ctx, path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	defer rdb.Close()
	for range 100 {
		if err = rdb.Ping(ctx).Err(); err == nil {
			return "unix://" + socket, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("redis-server doesn't answer: %w", err)
}
