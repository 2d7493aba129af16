// Command gateway shares the quota of pools with programs in any language: they change their base URL and key.
//
//	go run ./examples/gateway -demo                       a simulated provider, an embedded Redis: nothing else is needed
//	go run ./examples/gateway -config gateway.yaml        a provider, an embedded Redis: for one process
//	go run ./examples/gateway -config gateway.yaml -redis redis://host:6379   as many replicas as you like
//
// Package caller/gateway says what requests can ask for, and gateway.yaml beside this file what can be configured.
//
// # Paths
//
// Every path goes to the provider, but GET /healthz (the process runs) and GET /readyz (it takes requests, and Redis is
// reachable). -admin has these two, /metrics for Prometheus, and a status page of each pool below
// /status/.
//
// # Signals
//
//	SIGHUP           reads the configuration again, as a change of the file does; a broken one changes nothing
//	SIGTERM, SIGINT  not ready; after -delay no new connection; ends when all requests have, streams too, or after -drain
//
// Nothing of bodies, tokens or keys is logged.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the command line's.
type options struct {
	config, redis       string
	demo                bool
	listen, admin       string
	cert, key           string // of TLS
	connections         int
	headers             int // bytes
	headerTimeout, idle time.Duration
	delay, drain, watch time.Duration
	log                 bool
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.StringVar(&o.config, "config", "", "read the pools, routes and clients from this YAML `file`")
	fs.StringVar(&o.redis, "redis", "", "`URL` of a Redis to share with other replicas (default: an embedded one)")
	fs.BoolVar(&o.demo, "demo", false, "simulate the provider, with the keys and limits of the configuration")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8080", "serve clients on this `address`")
	fs.StringVar(&o.admin, "admin", "", "serve health and status on this `address` (default: none)")
	fs.StringVar(&o.cert, "tls-cert", "", "serve TLS with the certificate in this PEM `file`")
	fs.StringVar(&o.key, "tls-key", "", "and the key in this one")
	fs.IntVar(&o.connections, "max-connections", 10_000, "connections of clients at a time; further ones wait")
	fs.IntVar(&o.headers, "max-header", 64<<10, "bytes of a request's head")
	fs.DurationVar(&o.headerTimeout, "header-timeout", 10*time.Second, "for a client to send a request's head")
	fs.DurationVar(&o.idle, "idle-timeout", 2*time.Minute, "for a connection without a request")
	fs.DurationVar(&o.delay, "delay", 0, "from SIGTERM, not ready, to the end of listening")
	fs.DurationVar(&o.drain, "drain", 10*time.Minute, "for requests in flight to end after SIGTERM")
	fs.DurationVar(&o.watch, "watch", time.Second, "look at the configuration file this often; 0: only on SIGHUP")
	fs.BoolVar(&o.log, "log", false, "write a line for each request: no body, no token")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: gateway takes flags only", fs.Arg(0))
	case o.config == "" && !o.demo:
		return o, fmt.Errorf("there is no configuration: give -config a file, or try -demo")
	case (o.cert == "") != (o.key == ""):
		return o, fmt.Errorf("TLS needs both -tls-cert and -tls-key")
	case o.connections < 1 || o.headers < 1024:
		return o, fmt.Errorf("-max-connections must be at least 1, and -max-header at least 1024")
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}
