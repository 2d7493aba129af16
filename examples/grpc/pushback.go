package main

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstock/penstock/retry"
)

// pushbackTrailer is the time in milliseconds until the server wants a retry (gRFC A6). Negative, or no number: it wants none.
const pushbackTrailer = "grpc-retry-pushback-ms"

// pushback is an interceptor that makes what a server says in its trailer about retries part of the call's error: a time
// becomes the RetryInfo of the status, where the pool finds it, and a refusal of retries makes the error permanent.
func pushback(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	var trailer metadata.MD
	err := invoke(ctx, method, req, reply, conn, append(opts, grpc.Trailer(&trailer))...)
	values := trailer.Get(pushbackTrailer)
	if err == nil || len(values) == 0 {
		return err
	}
	ms, parseErr := strconv.Atoi(values[0])
	if parseErr != nil || ms < 0 {
		return retry.Permanent(err)
	}
	delay := &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(ms) * time.Millisecond)}
	delayed, detailsErr := status.Convert(err).WithDetails(delay)
	if detailsErr != nil {
		return err
	}
	return delayed.Err()
}
