package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/examples/internal/ledger"
)

// Tokens of a call: from leastTokens on, so many different values.
const (
	leastTokens = 25
	tokenValues = 100
)

// request returns a call as a request. Its idempotency key says that it may be repeated, and is its name in the record.
func request(ctx context.Context, base, id string) (*http.Request, error) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(id))
	body := fmt.Sprintf(`{"model":"m","max_tokens":%d,"messages":[{"role":"user","content":%q}]}`,
		leastTokens+sum.Sum32()%tokenValues, ledger.Text(id))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	return req, nil
}

// ask makes one call and returns its answer.
func (c *client) ask(ctx context.Context, id string) (ledger.Answer, error) {
	req, err := request(ctx, c.url, id)
	if err != nil {
		return ledger.Answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok { // its URL is the same for all
			err = e.Err
		}
		return ledger.Answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return ledger.Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return ledger.Answer{}, fmt.Errorf("the provider answered %d: %s", res.StatusCode, errorMessage(body))
	}
	var answer struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Choices) == 0 {
		return ledger.Answer{}, fmt.Errorf("an answer of status 200 that is none: %s", body)
	}
	return ledger.Answer{ID: id, Text: answer.Choices[0].Message.Content}, nil
}

// errorMessage is what an error's body says.
func errorMessage(body []byte) string {
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		return string(body)
	}
	return e.Error.Message
}
