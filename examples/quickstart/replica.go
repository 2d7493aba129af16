package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/examples/data"
)

// request is one line of the sample file.
type request struct {
	CustomID string          `json:"custom_id"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
}

func readRequests() ([]request, error) {
	var all []request
	for line, err := range batch.Lines(bytes.NewReader(data.Requests), 1<<20) {
		if err != nil {
			return nil, err
		}
		var r request
		if err := json.Unmarshal(line.Text, &r); err != nil {
			return nil, fmt.Errorf("requests.jsonl:%d: %w", line.Number, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// replica has the parts of one process of a service: a Redis client, a Pool, and an http.Client over it.
type replica struct {
	demo   *demo
	rdb    *redis.Client
	caller *caller.Pool
	http   *http.Client
}

func newReplica(name string, d *demo) (*replica, error) {
	rdb := d.store.Connect()
	cfg := d.config
	cfg.Tuning.SessionName = name
	c, err := caller.New(rdb, cfg)
	if err != nil {
		return nil, errors.Join(err, rdb.Close())
	}
	base := charging{d, caller.NewHTTPTransport(0)}
	client := &http.Client{Transport: c.Transport(base, caller.TransportConfig{})}
	return &replica{d, rdb, c, client}, nil
}

// run sends the requests.
func (r *replica) run(ctx context.Context, requests iter.Seq2[request, error]) error {
	sink := func(res batch.Result[request, struct{}]) error {
		r.demo.ended(res.Err)
		return nil
	}
	return batch.Run(ctx, requests, r.send, sink, batch.Options{Workers: 100})
}

func (r *replica) send(ctx context.Context, q request) (none struct{}, err error) {
	req, err := http.NewRequestWithContext(ctx, q.Method, r.demo.sim.URL()+q.URL, bytes.NewReader(q.Body))
	if err != nil {
		return none, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Request-Id", q.CustomID)
	res, err := r.http.Do(req)
	if err != nil {
		return none, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return none, err
	}
	if res.StatusCode != http.StatusOK {
		return none, fmt.Errorf("%s: status %d", q.CustomID, res.StatusCode)
	}
	return none, nil
}

// close closes the pool and the clients.
func (r *replica) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(r.caller.Close(ctx), r.rdb.Close())
}

// charging is a base transport that counts the cost of each request.
type charging struct {
	demo *demo
	base http.RoundTripper
}

func (c charging) RoundTrip(req *http.Request) (*http.Response, error) {
	c.demo.tally.Charge(req, c.demo.config.Profile.Estimate)
	return c.base.RoundTrip(req)
}
