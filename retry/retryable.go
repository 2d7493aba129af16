package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

// Status reports whether an HTTP status is retryable: 408, 425, 429, 500, 502, 503, 504, and 520 to 530 (a CDN has no answer of the
// origin; 529: overloaded). 409 isn't, because the meaning of a conflict depends on the API.
func Status(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return code >= 520 && code <= 530
}

// Network reports whether err is a transient network failure: a refused, reset or broken connection, a truncated or damaged
// response, a timeout, a temporary failure of a name server, a proxy that can't reach the host. Do checks the call's context
// first, so a timeout is that of the attempt. context.Canceled and every other error isn't one, such as bad certificates, bad
// addresses, names that don't exist, and a proxy that wants credentials.
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
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return transientAlert(alert)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTemporary && !dns.IsNotFound
	}
	return errors.Is(err, net.ErrClosed) || proxyUnreached(err) || brokenHTTP(err)
}

// transientAlert reports whether a TLS alert concerns one connection. Other alerts concern certificates and versions.
func transientAlert(alert tls.AlertError) bool {
	const unexpectedMessage, badRecordMAC, recordOverflow, decodeError, decryptError, internalError = 10, 20, 22, 50, 51, 80
	switch uint8(alert) {
	case unexpectedMessage, badRecordMAC, recordOverflow, decodeError, decryptError, internalError:
		return true
	}
	return false
}

// ProxyError is the refusal of a proxy to connect to a host. The request was never sent.
type ProxyError struct {
	Status int // HTTP status of the proxy's response to CONNECT
}

// Error returns the status.
func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy answered CONNECT with HTTP status %d (%s)", e.Status, http.StatusText(e.Status))
}

// NeverSent reports whether err shows that a request wasn't sent, because no connection to its host could be made: the host
// or the proxy refused it, or the proxy couldn't connect. Such a request can be sent again even if it isn't idempotent. A
// host that doesn't exist isn't such a failure.
func NeverSent(err error) bool {
	if err == nil {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "dial", "proxyconnect", "socks connect":
			dns, ok := errors.AsType[*net.DNSError](err)
			return !ok || !dns.IsNotFound
		}
	}
	if _, ok := errors.AsType[*ProxyError](err); ok {
		return true
	}
	return proxyUnreached(err)
}

// proxyUnreached reports whether err is a proxy's answer to CONNECT that means it couldn't reach the host. net/http returns the
// status as an error without a type, whose text is that of the status alone.
func proxyUnreached(err error) bool {
	if p, ok := errors.AsType[*ProxyError](err); ok {
		return Status(p.Status)
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	switch err.Error() {
	case "Bad Gateway", "Service Unavailable", "Gateway Timeout":
		return true
	}
	return false
}

// brokenHTTP recognises the errors by which net/http reports a connection that ended during a request. They have no exported
// type or value, so it compares their texts.
func brokenHTTP(err error) bool {
	text := err.Error()
	for _, s := range []string{
		"http: server closed idle connection",
		"http2: server sent GOAWAY",
		"http2: client connection lost",
		"http2: client connection force closed",
		"transport connection broken", // what came isn't HTTP
		"tls: bad record MAC",
		"stream error: stream ID", // the peer reset one HTTP/2 stream
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
