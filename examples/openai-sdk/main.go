// Command openai-sdk asks questions through OpenAI's client library over a pool of API keys:
//
//	OPENAI_API_KEYS=sk-a,sk-b REDIS_URL=redis://localhost:6379/0 go run .
//
// OPENAI_BASE_URL names another provider with the same API. It defaults to https://api.openai.com.
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

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
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
	pool, err := caller.New(rdb, config(env("OPENAI_API_KEYS")))
	if err != nil {
		return err
	}
	defer pool.Close(ctx)
	client := newClient(pool, cmp.Or(env("OPENAI_BASE_URL"), "https://api.openai.com"))
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
		Name:    "openai",
		Profile: provider.OpenAI(),
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: 500, Period: time.Minute},
			{Metric: caller.Tokens, Rate: 200_000, Period: time.Minute},
		},
	}
	for i, secret := range strings.Split(secrets, ",") {
		cfg.Keys = append(cfg.Keys, caller.Key{ID: fmt.Sprint("key-", i+1), Account: "org", Secret: caller.NewSecret(secret)})
	}
	return cfg
}

// newClient returns a client whose requests are calls of the pool. The pool replaces the client's key by the granted one.
func newClient(pool *caller.Pool, url string) openai.Client {
	return openai.NewClient(
		option.WithBaseURL(url+"/v1"),
		option.WithAPIKey("from the pool"),
		option.WithHTTPClient(&http.Client{Transport: pool.Transport(nil, caller.TransportConfig{ErrorResponses: true})}),
	)
}

func params(question string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:     shared.ChatModel("gpt-4o-mini"),
		MaxTokens: openai.Int(50),
		Messages:  []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
	}
}

// ask returns the whole answer.
func ask(ctx context.Context, client openai.Client, question string) (string, error) {
	answer, err := client.Chat.Completions.New(ctx, params(question))
	if err != nil {
		return "", err
	}
	return answer.Choices[0].Message.Content, nil
}

// stream calls show with each part of the answer. The permit is held until the stream is closed.
func stream(ctx context.Context, client openai.Client, question string, show func(string)) error {
	p := params(question)
	p.StreamOptions.IncludeUsage = openai.Bool(true) // so that the pool can read the call's usage
	events := client.Chat.Completions.NewStreaming(ctx, p)
	defer events.Close()
	for events.Next() {
		for _, choice := range events.Current().Choices {
			if choice.Delta.Content != "" {
				show(choice.Delta.Content)
			}
		}
	}
	return events.Err()
}
