package apisim

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// shape is the API of an endpoint. Limits, failures and latencies don't depend on it.
type shape int

const (
	openAI shape = iota
	anthropic
)

// failure is the body of an error.
func (s shape) failure(status int, e apiError) any {
	if s == openAI {
		return map[string]any{"error": e}
	}
	kind := map[int]string{
		http.StatusBadRequest: "invalid_request_error", http.StatusUnauthorized: "authentication_error",
		http.StatusTooManyRequests: "rate_limit_error", http.StatusServiceUnavailable: "overloaded_error",
	}[status]
	if kind == "" {
		kind = "api_error"
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": e.Message}}
}

// message is Anthropic's response.
func (c *call) message(a answer) map[string]any {
	reason := "end_turn"
	if a.finish == "length" {
		reason = "max_tokens"
	}
	return map[string]any{
		"id": c.name(), "type": "message", "role": "assistant", "model": c.Model, "stop_reason": reason, "stop_sequence": nil,
		"content": []any{map[string]any{"type": "text", "text": a.text}},
		"usage":   map[string]any{"input_tokens": a.usage.PromptTokens, "output_tokens": a.usage.CompletionTokens},
	}
}

// messagePiece is the i-th part of a streamed message's text, with the events before the first.
func (c *call) messagePiece(i int, part string, a answer) []byte {
	var b []byte
	if i == 0 {
		m := c.message(a)
		m["content"], m["stop_reason"] = []any{}, nil
		m["usage"] = map[string]any{"input_tokens": a.usage.PromptTokens, "output_tokens": 1}
		b = append(b, named("message_start", map[string]any{"message": m})...)
		b = append(b, named("content_block_start", map[string]any{
			"index": 0, "content_block": map[string]any{"type": "text", "text": ""},
		})...)
	}
	return append(b, named("content_block_delta", map[string]any{
		"index": 0, "delta": map[string]any{"type": "text_delta", "text": part},
	})...)
}

// messageEnding returns the last events of a streamed message, with its usage.
func (c *call) messageEnding(a answer) []byte {
	b := named("content_block_stop", map[string]any{"index": 0})
	b = append(b, named("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": c.message(a)["stop_reason"], "stop_sequence": nil},
		"usage": map[string]any{"output_tokens": a.usage.CompletionTokens},
	})...)
	return append(b, named("message_stop", map[string]any{})...)
}

// named is a server-sent event whose type is in its data, too.
func named(kind string, data map[string]any) []byte {
	data["type"] = kind
	body, err := json.Marshal(data)
	if err != nil { // strings and numbers can always be encoded
		return nil
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, body)
}
