package retry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Retryable reports whether another attempt may succeed after err. It is decided by the first of these that err has: a hint (see
// [Hinter]), an HTTP status from a method StatusCode() int (see [Status]), a network failure (see [Network]). An error with
// none of them isn't retryable.
func Retryable(err error) bool {
	if err == nil {
		return false
	}
	if hint := hintOf(err); hint.Advice != NoAdvice {
		return hint.Advice != Never
	}
	if s, ok := errors.AsType[interface {
		error
		StatusCode() int
	}](err); ok {
		return Status(s.StatusCode())
	}
	return Network(err)
}

// Status reports whether an HTTP status is retryable: 408, 425, 429, 500, 502, 503, 504, 529 (overloaded), and 520 to 524 (a
// CDN couldn't reach the origin). 409 isn't, because the meaning of a conflict depends on the API.
func Status(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 529:
		return true
	}
	return code >= 520 && code <= 524
}

// Network reports whether err is a transient network failure: a refused, reset or broken connection, a truncated response, a
// timeout, a temporary failure of a name server. Do checks the call's context first, so a timeout is that of the attempt.
// context.Canceled and every other error isn't one, such as bad certificates, bad addresses and names that don't exist.
//
// After such a failure the server may have processed the request. Retry only requests that are idempotent.
func Network(err error) bool {
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	for _, errno := range []syscall.Errno{
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTemporary && !dns.IsNotFound
	}
	return brokenHTTP(err)
}

// brokenHTTP recognises the errors by which net/http reports a connection that ended during a request. They have no exported
// type or value, so it compares their texts.
func brokenHTTP(err error) bool {
	text := err.Error()
	for _, s := range []string{
		"http: server closed idle connection",
		"http2: server sent GOAWAY",
		"http2: client connection lost",
		"stream error: stream ID", // the peer reset one HTTP/2 stream
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
