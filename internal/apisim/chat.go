package apisim

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// chatRequest has the fields of a chat completion's body that the simulator uses.
type chatRequest struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	MaxTokens           *int64    `json:"max_tokens"`
	MaxCompletionTokens *int64    `json:"max_completion_tokens"`
	Stream              bool      `json:"stream"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Metadata struct {
		RequestID string `json:"request_id"`
	} `json:"metadata"`

	tokens   int64
	sequence uint64 // of the admission in its account; 0: not charged
}

type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a message's text: in JSON a string, null, or a list of parts of which those of type text count.
type content string

func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content(text)
		return nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return fmt.Errorf("content is neither a text nor a list of parts: %w", err)
	}
	var all strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			all.WriteString(p.Text)
		}
	}
	*c = content(all.String())
	return nil
}

func parseChat(body []byte) (*chatRequest, error) {
	c := new(chatRequest)
	if err := json.Unmarshal(body, c); err != nil {
		return nil, fmt.Errorf("parse the JSON body: %w", err)
	}
	if c.Model == "" || len(c.Messages) == 0 {
		return nil, fmt.Errorf("the body needs a model and messages")
	}
	c.tokens = max(c.maxTokens(), quarter(c.characters()))
	return c, nil
}

// TokenCost returns the tokens that a chat completion is charged before it is answered, by OpenAI's rule: the larger of the
// answer's bound (max_tokens or max_completion_tokens) and a quarter of the characters of all messages, rounded up.
// Characters are Unicode code points of the texts, without roles and names.
func TokenCost(body []byte) (int64, error) {
	c, err := parseChat(body)
	if err != nil {
		return 0, err
	}
	return c.tokens, nil
}

func (c *chatRequest) characters() int {
	n := 0
	for _, m := range c.Messages {
		n += utf8.RuneCountInString(string(m.Content))
	}
	return n
}

// maxTokens returns the most tokens that the answer may have, 0 for no bound.
func (c *chatRequest) maxTokens() int64 {
	var most int64
	for _, n := range []*int64{c.MaxTokens, c.MaxCompletionTokens} {
		if n != nil {
			most = max(most, *n)
		}
	}
	return most
}

func quarter(characters int) int64 { return int64(characters+3) / 4 }

// answer is the simulator's answer: the last message, pseudo-translated.
type answer struct {
	text   string
	finish string
	usage  usage
}

type usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
}

// accents turns a text into a pseudo-translation: readable, and different from the original.
var accents = strings.NewReplacer(
	"a", "á", "e", "é", "i", "í", "o", "ó", "u", "ú", "n", "ñ", "c", "ç", "s", "š", "z", "ž",
	"A", "Á", "E", "É", "I", "Í", "O", "Ó", "U", "Ú", "N", "Ñ", "C", "Ç", "S", "Š", "Z", "Ž",
)

func (c *chatRequest) answer() answer {
	a := answer{finish: "stop", text: accents.Replace(string(c.Messages[len(c.Messages)-1].Content))}
	if most := c.maxTokens(); most > 0 && int64(utf8.RuneCountInString(a.text)) > 4*most {
		a.finish = "length"
		a.text = string([]rune(a.text)[:4*most])
	}
	a.usage.PromptTokens = quarter(c.characters())
	a.usage.CompletionTokens = quarter(utf8.RuneCountInString(a.text))
	a.usage.TotalTokens = a.usage.PromptTokens + a.usage.CompletionTokens
	return a
}
