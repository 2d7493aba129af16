package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/bench"
)

// client is the library as the suite uses it.
type client struct{ anthropic.Client }

func (c client) Ask(ctx context.Context, question string) (string, error) {
	return ask(ctx, c.Client, question)
}

func (c client) Stream(ctx context.Context, question string, show func(string)) error {
	return stream(ctx, c.Client, question, show)
}

func (c client) Open(ctx context.Context, question string) (io.Closer, error) {
	events := c.Messages.NewStreaming(ctx, params(question))
	events.Next()
	return events, events.Err()
}

func (c client) Response(err error) *http.Response {
	if e, ok := errors.AsType[*anthropic.Error](err); ok {
		return e.Response
	}
	return nil
}

// The program and the library work over a pool: the pool alone retries, streams hold permits, and usage is read.
func TestExample_WorksOverAPool(t *testing.T) {
	bench.Example{
		Profile: provider.Anthropic(), Model: "claude-sonnet-4-5", EnvName: "ANTHROPIC", Run: run,
		NewClient: func(pool *caller.Pool, url string) bench.Client { return client{newClient(pool, url)} },
	}.Test(t)
}
