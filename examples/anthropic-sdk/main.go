// Command anthropic-sdk asks questions through Anthropic's client library over a pool of API keys:
//
//	ANTHROPIC_API_KEYS=sk-a,sk-b REDIS_URL=redis://localhost:6379/0 go run .
//
// ANTHROPIC_BASE_URL names another provider with the same API. It defaults to https://api.anthropic.com.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

func main() {
	if err := run(context.Background(), os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env func(string) string, out io.Writer) error {
	options, err := redis.ParseURL(env("REDIS_URL"))
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	pool, err := caller.New(rdb, config(env("ANTHROPIC_API_KEYS")))
	if err != nil {
		return err
	}
	defer pool.Close(ctx)
	client := newClient(pool, cmp.Or(env("ANTHROPIC_BASE_URL"), "https://api.anthropic.com"))
	answer, err := ask(ctx, client, "What is the capital of France?")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, answer)
	return stream(ctx, client, "Tell me a story of a rate limit.", func(part string) { fmt.Fprint(out, part) })
}

// config returns the configuration of a pool whose keys belong to one organization, with the limits of its tier.
func config(secrets string) caller.Config {
	cfg := caller.Config{
		Name:    "anthropic",
		Profile: provider.Anthropic(),
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: 50, Period: time.Minute, Algorithm: caller.Bucket},
			{Metric: caller.InputTokens, Rate: 30_000, Period: time.Minute, Algorithm: caller.Bucket},
			{Metric: caller.OutputTokens, Rate: 8_000, Period: time.Minute, Algorithm: caller.Bucket},
		},
	}
	for i, secret := range strings.Split(secrets, ",") {
		cfg.Keys = append(cfg.Keys, caller.Key{ID: fmt.Sprint("key-", i+1), Account: "org", Secret: caller.NewSecret(secret)})
	}
	return cfg
}

// newClient returns a client whose requests are calls of the pool. The pool replaces the client's key by the granted one.
func newClient(pool *caller.Pool, url string) anthropic.Client {
	return anthropic.NewClient(
		option.WithBaseURL(url),
		option.WithAPIKey("from the pool"),
		option.WithHTTPClient(&http.Client{Transport: pool.Transport(nil, caller.TransportConfig{ErrorResponses: true})}),
	)
}

func params(question string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     anthropic.Model("claude-sonnet-4-5"),
		MaxTokens: 50,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(question))},
	}
}

// ask returns the whole answer.
func ask(ctx context.Context, client anthropic.Client, question string) (string, error) {
	answer, err := client.Messages.New(ctx, params(question))
	if err != nil {
		return "", err
	}
	return answer.Content[0].Text, nil
}

// stream calls show with each part of the answer. The permit is held until the stream is closed.
func stream(ctx context.Context, client anthropic.Client, question string, show func(string)) error {
	events := client.Messages.NewStreaming(ctx, params(question))
	defer events.Close()
	for events.Next() {
		if part := events.Current().Delta.Text; part != "" {
			show(part)
		}
	}
	return events.Err()
}
