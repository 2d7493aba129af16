package caller

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// shouldRetry is a header by which client libraries of providers decide on a retry. Without it they retry after any
// error of a transport and most statuses from 408 on. The pool sets it to false when it has given up a call.
const shouldRetry = "X-Should-Retry"

// errorHeader marks the responses that Transport makes. Its value is the reason of Error.Status.
const errorHeader = "Penstock-Error"

type errorKey struct{}

// ErrorOf returns the error that a response of Transport stands for, or nil for a provider's response. It is for users of
// http.Client, and of client libraries whose errors hold the http.Response.
func ErrorOf(res *http.Response) *Error {
	if res == nil || res.Request == nil {
		return nil
	}
	err, _ := res.Request.Context().Value(errorKey{}).(*Error)
	return err
}

// errorResponse returns the response that stands for err.
func (t *Transport) errorResponse(req *http.Request, err *Error) *http.Response {
	status, code := err.Status()
	body := t.pool.settings.Profile.ErrorBody(status, code, err.Error())
	h := http.Header{
		"Content-Type": {"application/json"},
		shouldRetry:    {"false"},
		errorHeader:    {code},
	}
	if d := err.RetryAfter; d > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
		h.Set("Retry-After-Ms", strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10))
	}
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		Request: req.WithContext(context.WithValue(req.Context(), errorKey{}, err)),
	}
}

// ErrorBody returns an error in the JSON shape that most providers use. It is the default of Profile.ErrorBody.
func ErrorBody(_ int, code, message string) []byte {
	type detail struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    string `json:"code"`
	}
	body, err := json.Marshal(struct {
		Error detail `json:"error"`
	}{detail{message, "penstock_error", code}})
	if err != nil { // strings can always be encoded
		return nil
	}
	return body
}
