// Command anthropic-sdk asks questions through Anthropic's own client library, over a pool of keys. It brings a provider
// and a Redis of its own:
//
//	go run .
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/bench"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b, err := bench.New(provider.Anthropic(), nil)
	if err != nil {
		return err
	}
	defer b.Close()
	client := newClient(b.Pool, b.Sim.URL())
	for _, question := range []string{"How are you?", "What is the capital of France?"} {
		answer, err := ask(ctx, client, question)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n\t%s\n", question, answer)
	}
	fmt.Println("As it comes:")
	return stream(ctx, client, "Tell me a story of a rate limit.", func(part string) { fmt.Printf("\t%s\n", part) })
}

// newClient returns a client whose requests are calls of the pool. Whatever key it is given is replaced by the one that
// the pool grants.
func newClient(pool *caller.Pool, url string) anthropic.Client {
	return anthropic.NewClient(
		option.WithBaseURL(url),
		option.WithAPIKey("from the pool"),
		option.WithHTTPClient(&http.Client{Transport: pool.Transport(nil, caller.TransportConfig{})}),
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

// stream gives each part of the answer to show as it comes. The permit is held until the stream is closed.
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
