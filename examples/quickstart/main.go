// Command quickstart runs the library without setup: no Redis, no network, no API keys.
//
//	go run ./examples/quickstart [-redis redis://…] [-json] [-watch]
//
// It starts an embedded Redis, and a simulated provider that enforces its limits strictly. Three replicas, each with a
// Redis client and a session of its own, share one pool of four keys in two accounts, and send a thousand requests. Of
// the responses 2 % are 503, and one key is revoked during the run.
//
// With -redis the replicas share that Redis instead. With -watch the pool's status page is open during the run, and after it
// until Ctrl-C. With -json the last line of standard output is one JSON object, see
// [report.Summary]. The exit code is 0 if every request succeeded, 1 if one was lost.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/penstock/penstock/examples/internal/report"
)

func main() {
	redisURL := flag.String("redis", "", "`URL` of a Redis to use (default: an embedded one)")
	asJSON := flag.Bool("json", false, "print the figures as one line of JSON")
	watch := flag.Bool("watch", false, "serve the pool's status page, until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *redisURL, *asJSON, *watch)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, redisURL string, asJSON, watch bool) (err error) {
	d, err := newDemo(ctx, redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if !asJSON {
		d.introduce(os.Stdout)
	}
	if watch {
		p, err := d.servePage(os.Stderr)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		defer func() { p.waitFor(ctx, os.Stderr) }()
	}
	meter := report.StartMeter(os.Stderr, int64(len(d.requests)), d.sample)
	d.run(ctx)
	meter.Stop()

	s := d.summary()
	if asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
			return err
		}
	} else {
		s.Write(os.Stdout)
		d.witness(os.Stdout)
	}
	if lost := s.Requests - s.Succeeded; lost > 0 {
		return fmt.Errorf("%d of %d requests were lost; the first: %w", lost, s.Requests, d.firstError())
	}
	return nil
}
