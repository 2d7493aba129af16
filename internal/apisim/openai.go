package apisim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// apiError is OpenAI's error object.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`

	status int
}

func badRequest(message string) *apiError {
	return &apiError{Message: message, Type: "invalid_request_error", status: http.StatusBadRequest}
}

func invalidKey() *apiError {
	return &apiError{
		Message: "Incorrect API key provided.", Type: "invalid_request_error", Code: new("invalid_api_key"),
		status: http.StatusUnauthorized,
	}
}

// refuse writes the answer to a call that was not admitted.
func (s shape) refuse(w http.ResponseWriter, d decision, account string) {
	if d.revoked {
		e := invalidKey()
		s.fail(w, e.status, *e)
		return
	}
	e := apiError{Type: string(d.reason), Code: new("rate_limit_exceeded")}
	switch {
	case d.reason == NoCredit:
		e.Type, e.Code = "insufficient_quota", new("insufficient_quota")
		e.Message = "You exceeded your current quota, please check your plan and billing details."
	case d.reason == OverConcurrency:
		e.Message = "Rate limit reached for organization " + account + ": too many requests in flight."
	case d.retryAfter == 0:
		e.Message = fmt.Sprintf("Request too large for organization %s on %s: Limit %d per %v.",
			account, d.reason, d.broken.Limit, d.broken.Per)
	default:
		setRetryAfter(w.Header(), d.retryAfter)
		e.Message = fmt.Sprintf("Rate limit reached for %sorganization %s on %s: Limit %d per %v. Please try again in %v.",
			d.broken.scope(), account, d.reason, d.broken.Limit, d.broken.Per, d.retryAfter)
	}
	s.fail(w, http.StatusTooManyRequests, e)
}

// scope names the limit's model for a message.
func (l Limit) scope() string {
	if l.Model == "" {
		return ""
	}
	return l.Model + " in "
}

// setRetryAfter rounds up: a client that waits for either header is not early.
func setRetryAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	h.Set("Retry-After-Ms", strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10))
}

// setQuotaHeaders sets OpenAI's headers: what is left, and the time until the whole limit is free.
func setQuotaHeaders(h http.Header, quotas []quota) {
	for _, q := range quotas {
		m := string(q.limit.Metric)
		h.Set("X-Ratelimit-Limit-"+m, strconv.FormatInt(q.limit.Limit, 10))
		h.Set("X-Ratelimit-Remaining-"+m, strconv.FormatInt(q.remaining, 10))
		h.Set("X-Ratelimit-Reset-"+m, (q.reset + time.Millisecond - 1).Truncate(time.Millisecond).String())
	}
}

// fail writes an error in the shape.
func (s shape) fail(w http.ResponseWriter, status int, e apiError) {
	body, err := json.Marshal(s.failure(status, e))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, body)
}

// completion is OpenAI's chat completion, whole or one chunk of it.
type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

type choice struct {
	Index        int     `json:"index"`
	Message      *text   `json:"message,omitempty"`
	Delta        *text   `json:"delta,omitempty"`
	FinishReason *string `json:"finish_reason"`
}

type text struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

// whole is a response that isn't streamed.
func (c *call) whole(a answer) any {
	if c.shape == anthropic {
		return c.message(a)
	}
	return completion{
		ID: c.name(), Object: "chat.completion", Created: time.Now().Unix(), Model: c.Model, Usage: &a.usage,
		Choices: []choice{{Message: &text{Role: "assistant", Content: a.text}, FinishReason: &a.finish}},
	}
}

func (c *call) name() string { return fmt.Sprintf("chatcmpl-%016x", c.id) }

// write sends a JSON body in one piece. It ignores errors: the client has gone then.
func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
