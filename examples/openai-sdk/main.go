// Command openai-sdk asks questions through OpenAI's own client library, over a pool of keys. It brings a provider and a
// Redis of its own:
//
//	go run .
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

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
	b, err := bench.New(provider.OpenAI(), nil)
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
func newClient(pool *caller.Pool, url string) openai.Client {
	return openai.NewClient(
		option.WithBaseURL(url+"/v1"),
		option.WithAPIKey("from the pool"),
		option.WithHTTPClient(&http.Client{Transport: pool.Transport(nil, caller.TransportConfig{})}),
	)
}

func params(question string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:         shared.ChatModel("gpt-4o-mini"),
		MaxTokens:     openai.Int(50),
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{},
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

// stream gives each part of the answer to show as it comes. The permit is held until the stream is closed.
func stream(ctx context.Context, client openai.Client, question string, show func(string)) error {
	p := params(question)
	p.StreamOptions.IncludeUsage = openai.Bool(true) // tells the pool what the call really cost
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
