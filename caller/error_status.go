package caller

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// gRPC's status codes that need a rule of their own.
const (
	grpcCanceled          = 1
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
)

// grpcStatuses are the HTTP statuses of gRPC's status codes by google.rpc.Code. A call that the server cancels, which is 499
// there, counts as its failure: the pool asks first whether the client has ended the call.
var grpcStatuses = [...]int{
	0, http.StatusInternalServerError, http.StatusInternalServerError, http.StatusBadRequest, http.StatusGatewayTimeout,
	http.StatusNotFound, http.StatusConflict, http.StatusForbidden, http.StatusTooManyRequests, http.StatusBadRequest,
	http.StatusConflict, http.StatusBadRequest, http.StatusNotImplemented, http.StatusInternalServerError,
	http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusUnauthorized,
}

// errorStatus is the response that an error of another library stands for.
type errorStatus struct {
	response *http.Response
	body     []byte
	// ownEnd says that the client library may have made the error because the call's context ended.
	ownEnd bool
}

// errorStatusOf returns the response that an error stands for, or nil if it stands for none. That is an error with a method
// StatusCode() int, HTTPStatusCode() int or HTTPCode() int that returns 400 to 599, or with gRPC's GRPCStatus(). A RetryInfo
// in the details of a gRPC status is the response's Retry-After.
func errorStatusOf(err error) *errorStatus {
	if code := httpStatus(err); code != 0 {
		return &errorStatus{response: &http.Response{StatusCode: code, Header: http.Header{}}}
	}
	s := grpcStatusOf(err)
	if s == nil || s.code == 0 {
		return nil
	}
	out := &errorStatus{
		response: &http.Response{StatusCode: s.httpStatus(), Header: http.Header{}}, body: []byte(s.message),
		ownEnd: s.code == grpcCanceled || s.code == grpcDeadlineExceeded,
	}
	if s.retryAfter > 0 {
		out.response.Header.Set("Retry-After-Ms", strconv.FormatInt(max(s.retryAfter.Milliseconds(), 1), 10))
	}
	return out
}

// httpStatus returns the status of an error with a method for it, or 0 if there is none from 400 to 599.
func httpStatus(err error) int {
	code := 0
	if e, ok := errors.AsType[interface {
		error
		StatusCode() int
	}](err); ok {
		code = e.StatusCode()
	} else if e, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		code = e.HTTPStatusCode()
	} else if e, ok := errors.AsType[interface {
		error
		HTTPCode() int
	}](err); ok {
		code = e.HTTPCode()
	}
	if code < http.StatusBadRequest || code > 599 {
		return 0
	}
	return code
}

// grpcStatus is what the pool reads of a gRPC status.
type grpcStatus struct {
	code       uint64
	message    string
	retryAfter time.Duration // of a RetryInfo; 0: there is none
}

// httpStatus returns the HTTP status that the code stands for.
func (s *grpcStatus) httpStatus() int {
	if s.code >= uint64(len(grpcStatuses)) {
		return http.StatusInternalServerError
	}
	if s.code == grpcResourceExhausted && strings.Contains(s.message, "message larger than max") {
		return http.StatusRequestEntityTooLarge // the library's own limit on messages
	}
	return grpcStatuses[s.code]
}

// grpcStatusOf returns the gRPC status of the first error in the tree that has one, or nil. GRPCStatus returns a type of gRPC,
// which an interface can't name without importing it, so its methods are called by package reflect.
func grpcStatusOf(err error) *grpcStatus {
	for err != nil {
		if s := readGRPCStatus(reflect.ValueOf(err).MethodByName("GRPCStatus")); s != nil {
			return s
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				if s := grpcStatusOf(one); s != nil {
					return s
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// readGRPCStatus reads the status that a method GRPCStatus returns; nil: it isn't gRPC's method, or there is no status.
func readGRPCStatus(method reflect.Value) *grpcStatus {
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return nil
	}
	status := method.Call(nil)[0]
	if status.Kind() != reflect.Pointer || status.IsNil() {
		return nil
	}
	code := status.MethodByName("Code")
	if !code.IsValid() || code.Type().NumIn() != 0 || code.Type().NumOut() != 1 || code.Type().Out(0).Kind() != reflect.Uint32 {
		return nil
	}
	out := &grpcStatus{code: code.Call(nil)[0].Uint()}
	if s, ok := reflect.TypeAssert[interface{ Message() string }](status); ok {
		out.message = s.Message()
	}
	if s, ok := reflect.TypeAssert[interface{ Details() []any }](status); ok {
		out.retryAfter = retryInfo(s.Details())
	}
	return out
}

// retryInfo returns the delay of the first google.rpc.RetryInfo among a status' details; 0: there is none.
func retryInfo(details []any) time.Duration {
	for _, d := range details {
		get := reflect.ValueOf(d).MethodByName("GetRetryDelay")
		if !get.IsValid() || get.Type().NumIn() != 0 || get.Type().NumOut() != 1 {
			continue
		}
		delay, ok := reflect.TypeAssert[interface{ AsDuration() time.Duration }](get.Call(nil)[0])
		if ok {
			return max(delay.AsDuration(), 0)
		}
	}
	return 0
}
