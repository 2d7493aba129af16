// Package gateway is an HTTP handler that shares the quota of pools with programs in any language. A program changes the
// base URL and the key of its client library, and nothing else.
//
//	client ──> Gateway ──> httputil.ReverseProxy ──> caller.Transport ──> provider
//	           who, what     hop-by-hop headers,       key, limits,
//	           and where     streams, upgrades         queue, retries
//
// The life of a request:
//
//	| step | otherwise |
//	|---|---|
//	| its head is well-formed, and its X-Penstock headers are | 400 |
//	| its token belongs to a client | 401 |
//	| its body, or the beginning of it, is read to find the model | 400, 408, 413 |
//	| a route has the path and the model | 404 |
//	| the client may use the model, and has room in its queue | 403, 429 |
//	| the client's caps have room for the call's estimate | 413, 429, 503 |
//	| the pool admits it, after a wait | 404, 413, 429, 503 |
//	| the provider answers, after as many attempts as help | 502, 504 |
//
// Any path passes through, also server-sent events, upgrades to WebSocket, trailers, and uploads of any size.
//
// # Headers of requests
//
// Each is optional. A time is written as 1m30s, 250ms, or as a number of seconds.
//
//	X-Penstock-Priority     low, normal or high, up to the client's Ceiling; defaults to normal
//	X-Penstock-Affinity     any text: calls with the same text go to one account while it has capacity
//	X-Penstock-Timeout      bounds the call until the head of its answer
//	X-Penstock-Wait         bounds the wait for admission; at least 50 ms
//	X-Penstock-Idempotency  yes or no: whether the call may be carried out twice
//
// # Headers of answers
//
//	X-Penstock-Key       the ID of the key that the call was made with
//	X-Penstock-Waited    the time that the call waited between its arrival and its last attempt, attempts left out
//	X-Penstock-Attempts  the number of attempts that were sent
//	X-Should-Retry       false on errors that another attempt of the client library can't help
//	Retry-After          on refusals, where a longer wait in the queue is no use
//	Penstock-Error       the reason of a refusal, in one word; those of the pool are in caller.Error.Status
//
// The body of a refusal is an error in the provider's shape.
//
// # Caps and usage
//
// A client's caps count in minutes and days of UTC by Redis' clock, over all processes: at most so many units in each. A call
// is charged its estimate, and what it really used after its answer. So a cap is exceeded only by what answers take beyond
// their estimates.
//
//	| event | effect |
//	|---|---|
//	| the caps are used by less than 3/4 | Redis grants the process a reserve, from which calls need no round trip |
//	| a reserve isn't used for a second | it goes back |
//	| the call isn't sent to the provider | its charge is refunded |
//	| the provider answers with an error and no usage | the tokens are refunded |
//	| an answer doesn't say its usage | the estimate stays |
//	| the window ends before the answer | the correction has no effect on it |
//	| Redis doesn't answer | the call waits for up to 5 s, then 503; usage waits in the process |
//	| Redis loses writes | the windows begin anew |
package gateway
