// Command generate writes the sample requests: every sentence of every template, in the same shuffled order each time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"unicode/utf8"
)

type request struct {
	CustomID string `json:"custom_id"`
	Method   string `json:"method"`
	URL      string `json:"url"`
	Body     body   `json:"body"`
}

type body struct {
	Model     string    `json:"model"`
	Messages  []message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func main() {
	out := flag.String("out", "requests.jsonl", "file to write")
	flag.Parse()
	if err := write(*out); err != nil {
		log.Fatal(err)
	}
}

func write(path string) error {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, r := range requests() {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// requests returns one request for each sentence, with the target languages in turn.
func requests() []request {
	type sentence struct{ from, text string }
	var all []sentence
	for _, t := range templates {
		for _, a := range t.first {
			for _, b := range t.second {
				all = append(all, sentence{t.language, strings.NewReplacer("{1}", a, "{2}", b).Replace(t.text)})
			}
		}
	}
	rand.New(rand.NewPCG(1, 1000)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })

	targets := []string{"German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish", "Japanese"}
	out := make([]request, 0, len(all))
	for i, s := range all {
		to := targets[i%len(targets)]
		if s.from != "English" {
			to = "English"
		}
		out = append(out, request{
			CustomID: fmt.Sprintf("translate-%04d", i+1), Method: "POST", URL: "/v1/chat/completions",
			Body: body{
				Model: "gpt-4o-mini",
				Messages: []message{
					{"system", fmt.Sprintf("Translate the text from %s into %s. Answer with the translation only.", s.from, to)},
					{"user", s.text},
				},
				// A translation is rarely longer than twice its source, at about four characters a token.
				MaxTokens: 16 + utf8.RuneCountInString(s.text)/2,
			},
		})
	}
	return out
}
