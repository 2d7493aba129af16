package provider

import (
	"net/http"
	"testing"
)

// The model stands in the body or in the path.
func TestModel_IsFoundInBodyAndPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ provider, path, body, want string }{
		{"openai", "/v1/chat/completions", `{"messages":[{"model":"no"}],"model":"gpt-4o"}`, "gpt-4o"},
		{"openai", "/v1/files", "", ""},
		{"openai", "/v1/responses", `{"model":null}`, ""},
		{"openai", "/v1/responses", `not JSON`, ""},
		{"anthropic", "/v1/messages", `{"model":"claude-sonnet-4-5"}`, "claude-sonnet-4-5"},
		{"azure", "/openai/deployments/prod-4o/chat/completions", `{}`, "prod-4o"},
		{"azure", "/openai/v1/responses", `{"model":"gpt-4o"}`, "gpt-4o"},
		{"gemini", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", `{"contents":[]}`, "gemini-2.5-pro"},
		{"gemini", "/v1beta/openai/chat/completions", `{"model":"models/gemini-2.5-pro"}`, "gemini-2.5-pro"},
		{"gemini", "/v1beta/models", "", ""},
	} {
		p, err := ByName(c.provider)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Model(request(http.MethodPost, c.path), []byte(c.body)); got != c.want {
			t.Errorf("%s %s %s: got %q, want %q", c.provider, c.path, c.body, got, c.want)
		}
	}
}
