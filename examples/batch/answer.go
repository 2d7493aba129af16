package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
)

// answer is one line of a Batch output or error file.
type answer struct {
	ID       string    `json:"id"`        // empty in the output of some other tools
	CustomID *string   `json:"custom_id"` // nil: the request's line could not be read
	Response *response `json:"response"`  // nil: there is none
	Error    *failure  `json:"error"`     // nil where there was an answer, of any status
}

type response struct {
	StatusCode int             `json:"status_code"`
	RequestID  string          `json:"request_id"`
	Body       json.RawMessage `json:"body"`
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// refusal is an answer that isn't a success, and doesn't become one.
type refusal struct{ response *response }

func (e *refusal) Error() string {
	return fmt.Sprintf("the provider answered %d", e.response.StatusCode)
}

// succeeded reports whether the line has an answer.
func (a *answer) succeeded() bool {
	return a.Response != nil && a.Error == nil && a.Response.StatusCode/100 == 2
}

// settled reports whether another attempt is of no use: the provider has answered the request, or has refused it for a
// reason other than the key, the quota or the moment.
func (a *answer) settled() bool {
	if a.Response == nil {
		return false
	}
	switch status := a.Response.StatusCode; status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusRequestTimeout,
		http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	default:
		return status/100 == 2 || status/100 == 4
	}
}

// newAnswer returns the output line of a result.
func newAnswer(req request, resp *response, err error) *answer {
	a := &answer{ID: batchID(req), Response: resp}
	if req.CustomID != "" {
		a.CustomID = &req.CustomID
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		a.Response = refused.response
	} else if err != nil {
		a.Response, a.Error = nil, &failure{Code: code(err), Message: err.Error()}
	}
	return a
}

// noAnswer is the code of a request that has no answer of the provider.
const noAnswer = "no_answer"

// code returns the code of an error that is no answer of the provider.
func code(err error) string {
	if e, ok := errors.AsType[*lineError](err); ok {
		return e.code
	}
	switch {
	case errors.Is(err, caller.ErrNeverFits):
		return "exceeds_limit"
	case errors.Is(err, caller.ErrNoKeys):
		return "no_usable_key"
	}
	return noAnswer
}

// batchID returns a request's name in the output, which is the same in every run.
func batchID(req request) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", req.Line, req.CustomID))
	return fmt.Sprintf("batch_req_%x", sum[:12])
}

// line returns the answer as one line of JSON.
func (a *answer) line() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// oneLine returns a body as one line of JSON: compacted if it is JSON, else as a string.
func oneLine(body []byte) json.RawMessage {
	var buf bytes.Buffer
	if json.Compact(&buf, body) == nil {
		return buf.Bytes()
	}
	text, _ := json.Marshal(string(body)) // strings can always be encoded
	return text
}

// learn returns a visitor of OpenJournal that marks the requests of a file as done, and counts them.
func learn(ids *batch.IDs, count *int64) func(line []byte) error {
	return func(line []byte) error {
		a, err := readAnswer(line)
		if err != nil {
			return err
		}
		*count++
		if a.CustomID != nil {
			ids.Done(*a.CustomID)
		}
		return nil
	}
}

func readAnswer(line []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(line, &a); err != nil || a.ID == "" && a.CustomID == nil || a.Response == nil && a.Error == nil {
		return nil, errors.New("not a line of Batch output; is this the right file?")
	}
	return &a, nil
}
