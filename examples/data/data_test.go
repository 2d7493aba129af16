package data_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/penstock/penstock/examples/data"
)

// The sample file has a thousand requests with different IDs and texts.
func TestRequests_AreAThousandDifferentOnes(t *testing.T) {
	ids, texts := make(map[string]bool), make(map[string]bool)
	for line := range bytes.Lines(data.Requests) {
		var r struct {
			CustomID string `json:"custom_id"`
			Method   string
			URL      string
			Body     struct {
				Model     string
				MaxTokens int `json:"max_tokens"`
				Messages  []struct{ Role, Content string }
			}
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Method != "POST" || r.URL != "/v1/chat/completions" || r.Body.Model == "" || r.Body.MaxTokens < 1 || len(r.Body.Messages) != 2 {
			t.Fatalf("incomplete: %s", line)
		}
		ids[r.CustomID], texts[r.Body.Messages[1].Content] = true, true
	}
	if len(ids) != 1000 || len(texts) != 1000 {
		t.Errorf("%d ids, %d texts", len(ids), len(texts))
	}
}

// The committed sample file is the generator's output.
func TestRequests_AreWhatTheGeneratorWrites(t *testing.T) {
	out := filepath.Join(t.TempDir(), "requests.jsonl")
	if msg, err := exec.CommandContext(t.Context(), "go", "run", "./generate", "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data.Requests) {
		t.Error("requests.jsonl differs; run go generate ./examples/data")
	}
}
