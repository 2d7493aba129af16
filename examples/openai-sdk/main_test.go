package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/openai/openai-go/v3"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/bench"
)

// client is the library as the suite uses it.
type client struct{ openai.Client }

func (c client) Ask(ctx context.Context, question string) (string, error) {
	return ask(ctx, c.Client, question)
}

func (c client) Stream(ctx context.Context, question string, show func(string)) error {
	return stream(ctx, c.Client, question, show)
}

func (c client) Open(ctx context.Context, question string) (io.Closer, error) {
	events := c.Chat.Completions.NewStreaming(ctx, params(question))
	events.Next()
	return events, events.Err()
}

func (c client) Response(err error) *http.Response {
	if e, ok := errors.AsType[*openai.Error](err); ok {
		return e.Response
	}
	return nil
}

// The program and the library work over a pool: the pool alone retries, streams hold permits, and usage is read.
func TestExample_WorksOverAPool(t *testing.T) {
	bench.Example{
		Profile: provider.OpenAI(), Model: "gpt-4o-mini", EnvName: "OPENAI", Run: run,
		NewClient: func(pool *caller.Pool, url string) bench.Client { return client{newClient(pool, url)} },
	}.Test(t)
}
