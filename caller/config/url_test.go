package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse_TakesAQueryInBaseURL(t *testing.T) {
	t.Parallel()
	parse := func(url string) (*Pool, error) {
		return Parse("f", []byte("name: p\nbase_url: "+url+"\nkeys: [{id: k, secret: s}]\n"), anything)
	}
	p, err := parse("https://x.openai.azure.com/openai/deployments/gpt-4o/?api-version=2024-10-21")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.BaseURL.String(), "https://x.openai.azure.com/openai/deployments/gpt-4o?api-version=2024-10-21"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, url := range []string{"https://h?key=abc", "https://h?api_key=abc", "https://h?access_token=abc", "https://h#x", "https://u@h"} {
		if _, err := parse(url); !strings.Contains(fmt.Sprint(err), "the API key belongs in keys") {
			t.Errorf("%s: got %v, want an error", url, err)
		}
	}
}

// A request's URL is base_url, path and both queries; a version that both have stands once.
func TestURL_JoinsBaseAndPath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ base, path, want string }{
		{"http://h", "/v1/chat/completions", "http://h/v1/chat/completions"},
		{"https://h/v1", "/v1/chat/completions", "https://h/v1/chat/completions"},
		{"https://h/v1/", "/v1/chat/completions", "https://h/v1/chat/completions"},
		{"https://h/openai/v1", "/v1/chat/completions", "https://h/openai/v1/chat/completions"},
		{"https://h/api/v1", "/v1/chat/completions", "https://h/api/v1/chat/completions"},
		{"https://h/compatible-mode/v1", "/v1/embeddings", "https://h/compatible-mode/v1/embeddings"},
		{"https://h/v1beta", "/v1beta/models/m:generateContent", "https://h/v1beta/models/m:generateContent"},
		{"https://h/api/paas/v4", "/v4/chat/completions", "https://h/api/paas/v4/chat/completions"},
		{"https://h/openai", "/v1/embeddings", "https://h/openai/v1/embeddings"},
		{"https://h/openai", "/openai/v1/embeddings", "https://h/openai/v1/embeddings"},
		{"https://h/v1", "/v10/x", "https://h/v1/v10/x"},
		{"https://h/v4", "/v1/chat/completions", "https://h/v4/v1/chat/completions"},
		{"https://h/d?api-version=1", "/chat/completions", "https://h/d/chat/completions?api-version=1"},
		{"https://h/d?api-version=1", "/x?a=b", "https://h/d/x?api-version=1&a=b"},
		{"https://h", "/files/a%2Fb", "https://h/files/a%2Fb"},
		{"https://h", "models", "https://h/models"},
	} {
		p, err := Parse("f", []byte("name: p\nbase_url: "+tc.base+"\nkeys: [{id: k, secret: s}]\n"), anything)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.URL(tc.path).String(); got != tc.want {
			t.Errorf("%s with %s: got %s, want %s", tc.base, tc.path, got, tc.want)
		}
	}
}
