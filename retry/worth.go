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

// Worth says whether another attempt at what failed with err may succeed: if a hint says so, or a status that the error
// reports by a method StatusCode() int (see [Status]), or if it is a network failure that may pass (see [Network]). Of
// an error that it knows nothing about it says no: what isn't understood isn't repeated.
func Worth(err error) bool {
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

// Status says whether an HTTP status is worth another attempt: 408, 425, 429, 500, 502, 503, 504, 529 (overloaded), and
// 520 to 524, by which a CDN says that it couldn't reach the origin. Not 409: whether a conflict passes depends on the
// API.
func Status(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, 529:
		return true
	}
	return code >= 520 && code <= 524
}

// Network says whether err is a failure of the network that may pass: a refused, reset or broken connection, an answer
// that was cut off, a timeout, a name server in trouble. A timeout counts because the caller's own context is looked at
// first by Do: if that is alive, it was the attempt's. It says no to context.Canceled, and to everything that it doesn't
// know: bad certificates, bad addresses, names that don't exist.
//
// It doesn't tell whether the request was carried out. Only what may be done twice should be sent again.
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

// brokenHTTP recognises the errors by which net/http reports a connection that ended under a request. They have no
// exported type or value, so their texts must do.
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
