package provider_test

import (
	"fmt"
	"net/http"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

func ExampleByName() {
	_, err := provider.ByName("opnai")
	fmt.Println(err)
	// Output:
	// provider "opnai" is unknown: use one of anthropic, azure, cerebras, cohere, deepseek, gemini, generic, github, groq, ietf, minimax, mistral, moonshot, openai, openrouter, qwen, together, vertex, xai, zhipu
}

// The same status means different things, and only some of them pass by waiting.
func ExampleOpenAI() {
	profile := provider.OpenAI()
	answer := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After-Ms": {"1500"}}}
	for _, body := range []string{
		`{"error": {"type": "tokens", "code": "rate_limit_exceeded"}}`,
		`{"error": {"type": "insufficient_quota", "code": "credit_balance_exhausted"}}`,
	} {
		v := profile.Judge(answer, []byte(body))
		fmt.Println(v.Outcome, v.RetryAfter, v.Reason)
	}
	// Output:
	// throttled 1.5s rate_limit_exceeded
	// out of credit 1.5s credit_balance_exhausted
}

// A profile is a value: replace what you know better, such as the size of a prompt.
func ExampleOpenAI_tokenizer() {
	profile := provider.OpenAI()
	estimate := profile.Estimate
	profile.Estimate = func(r *http.Request, body []byte) caller.Cost {
		cost := estimate(r, body)
		cost[caller.Tokens] += 3 // what this model adds to every conversation
		return cost
	}
	cost := profile.Estimate(nil, []byte(`{"messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 50}`))
	fmt.Println(cost[caller.Requests], cost[caller.Tokens])
	// Output: 1 53
}
