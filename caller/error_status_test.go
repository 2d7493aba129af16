package caller_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/retry"
)

// Errors as other libraries have them.
type (
	statusError     int // go-kit, and AWS SDK v1
	httpStatusError int // smithy-go of AWS SDK v2, and slack-go
	httpCodeError   int // gax-go of Google
)

func (e statusError) Error() string           { return "status" }
func (e statusError) StatusCode() int         { return int(e) }
func (e httpStatusError) Error() string       { return "status" }
func (e httpStatusError) HTTPStatusCode() int { return int(e) }
func (e httpCodeError) Error() string         { return "status" }
func (e httpCodeError) HTTPCode() int         { return int(e) }

// rpcError is an error as gRPC has it. Its types have the names and methods of gRPC's, and are others.
type rpcError struct{ status *rpcStatus }

type (
	rpcCode   uint32
	rpcStatus struct {
		code  rpcCode
		text  string
		delay time.Duration
	}
	rpcDelay     time.Duration
	rpcRetryInfo struct{ delay rpcDelay }
)

func (e *rpcError) Error() string                { return "rpc error" }
func (e *rpcError) GRPCStatus() *rpcStatus       { return e.status }
func (s *rpcStatus) Code() rpcCode               { return s.code }
func (s *rpcStatus) Message() string             { return s.text }
func (d *rpcDelay) AsDuration() time.Duration    { return time.Duration(*d) }
func (r *rpcRetryInfo) GetRetryDelay() *rpcDelay { return &r.delay }
func (s *rpcStatus) Details() []any {
	if s.delay == 0 {
		return nil
	}
	return []any{"another detail", &rpcRetryInfo{rpcDelay(s.delay)}}
}

// strangeError has a method of gRPC's name that isn't gRPC's.
type strangeError struct{}

func (strangeError) Error() string            { return "another GRPCStatus" }
func (strangeError) GRPCStatus(int) *rpcError { return nil }

func rpc(code rpcCode, text string, delay time.Duration) error {
	return &rpcError{&rpcStatus{code, text, delay}}
}

// An error that has a status by a method has the verdict on a response of that status.
func TestDo_JudgesStatusOfErrors(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	verdict := func(o caller.Outcome, s caller.Scope, after time.Duration, reason string) caller.Verdict {
		return caller.Verdict{Outcome: o, Scope: s, RetryAfter: after, Reason: reason}
	}
	const account, key, provider = caller.ScopeAccount, caller.ScopeKey, caller.ScopeProvider
	fault := caller.Verdict{Outcome: caller.ClientError}
	for _, test := range []struct {
		what   string
		err    error
		want   caller.Verdict
		status int
	}{
		{"StatusCode 429", statusError(429), verdict(caller.Throttled, account, 0, "429"), 429},
		{"StatusCode 404", statusError(404), verdict(caller.ClientError, account, 0, "404"), 404},
		{"wrapped and joined", fmt.Errorf("ask: %w", errors.Join(errors.New("x"), statusError(503))), verdict(caller.Overloaded, provider, 0, "503"), 503},
		{"HTTPStatusCode 500", httpStatusError(500), verdict(caller.Transient, provider, 0, "500"), 500},
		{"HTTPStatusCode 401", httpStatusError(401), verdict(caller.KeyRejected, key, 0, "401"), 401},
		{"HTTPStatusCode without a response", httpStatusError(0), fault, 0},
		{"HTTPStatusCode of a response that can't be read", httpStatusError(200), fault, 0},
		{"HTTPCode 402", httpCodeError(402), verdict(caller.OutOfCredit, account, 0, "402"), 402},
		{"HTTPCode of a gRPC error", httpCodeError(-1), fault, 0},
		{"RESOURCE_EXHAUSTED", rpc(8, "quota", 0), verdict(caller.Throttled, account, 0, "429"), 429},
		{"RetryInfo", fmt.Errorf("ask: %w", rpc(8, "quota", 31*time.Second)), verdict(caller.Throttled, account, 31*time.Second, "429"), 429},
		{"joined", errors.Join(errors.New("x"), rpc(14, "draining", 0)), verdict(caller.Overloaded, provider, 0, "503"), 503},
		{"too large a message", rpc(8, "grpc: received message larger than max (5 vs. 4)", 0), verdict(caller.ClientError, account, 0, "413"), 413},
		{"calls in flight", rpc(8, "too many concurrent requests", 0),
			caller.Verdict{Outcome: caller.Throttled, Scope: account, Reason: "429", Concurrency: true}, 429},
		{"UNAUTHENTICATED", rpc(16, "", 0), verdict(caller.KeyRejected, key, 0, "401"), 401},
		{"INVALID_ARGUMENT", rpc(3, "", 0), verdict(caller.ClientError, account, 0, "400"), 400},
		{"CANCELLED by the server", rpc(1, "", 0), verdict(caller.Transient, provider, 0, "500"), 500},
		{"a code of the future", rpc(99, "", 0), verdict(caller.Transient, provider, 0, "500"), 500},
		{"OK", rpc(0, "", 0), fault, 0},
		{"no status", &rpcError{}, fault, 0},
		{"another method of that name", strangeError{}, fault, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			var got caller.Attempt
			c := join(t, rdb, func(c *caller.Config) {
				c.Name += test.what
				c.Hooks.Attempted = func(_ context.Context, a caller.Attempt) { got = a }
			})
			_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
				return 0, retry.Permanent(test.err) // throttling would be waited out
			})
			if err == nil || got.Verdict != test.want || got.Status != test.status {
				t.Errorf("got error %v, verdict %+v and status %d, want %+v and %d", err, got.Verdict, got.Status, test.want, test.status)
			}
		})
	}
}

// A gRPC error that the client library makes at the end of the call's context says nothing about the provider, and any other
// gRPC error does.
func TestDo_LeavesGRPCErrorOfEndedContextToContext(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want caller.Outcome
	}{
		{rpc(1, "context canceled", 0), caller.Canceled}, {rpc(4, "context deadline exceeded", 0), caller.Canceled},
		{rpc(16, "", 0), caller.KeyRejected}, {statusError(429), caller.Throttled},
	} {
		var got caller.Attempt
		c := join(t, redistest.Client(t), func(c *caller.Config) {
			c.Hooks.Attempted = func(_ context.Context, a caller.Attempt) { got = a }
		})
		ctx, cancel := context.WithCancel(t.Context())
		_, err := caller.Do(ctx, c, nil, func(context.Context, *caller.Grant) (int, error) {
			cancel()
			return 0, test.err
		})
		if err == nil || got.Verdict.Outcome != test.want {
			t.Errorf("%v: got error %v and %v, want %v", test.err, err, got.Verdict.Outcome, test.want)
		}
	}
}

// An error with a gRPC status is tried again, no earlier than its RetryInfo says.
func TestDo_RetriesGRPCErrors(t *testing.T) {
	t.Parallel()
	c := join(t, redistest.Client(t))
	sent, begun := 0, time.Now()
	got, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
		if sent++; sent == 1 {
			return 0, rpc(8, "quota", 200*time.Millisecond)
		}
		return sent, nil
	})
	if took := time.Since(begun); err != nil || got != 2 || took < 200*time.Millisecond {
		t.Errorf("got %d and error %v after %v, want the second attempt's 2 after at least 200 ms", got, err, took)
	}
}
