package main

import (
	"context"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
)

// sender makes calls and retries them.
type sender interface {
	send(ctx context.Context, c *call) error
	// missed returns the number of send times that the process was too late for.
	missed() int64
	close(ctx context.Context) error
}

// pooled makes calls by a Penstock pool.
type pooled struct {
	url    string
	caller *caller.Pool
	http   *http.Client
}

func newPooled(rdb *redis.Client, l *line, t *task) (*pooled, error) {
	c, err := caller.New(rdb, t.Scenario.pool(t.Pool))
	if err != nil {
		return nil, err
	}
	return &pooled{t.Provider, c, &http.Client{Transport: c.Transport(l, caller.TransportConfig{})}}, nil
}

func (p *pooled) send(ctx context.Context, c *call) error {
	req, err := c.request(caller.WithOptions(ctx, caller.Options{Priority: c.priority}), p.url)
	if err != nil {
		return err
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return caller.CheckResponse(res)
}

func (p *pooled) missed() int64 { return p.caller.Stats().SlotsMissed }

func (p *pooled) close(ctx context.Context) error { return p.caller.Close(ctx) }
