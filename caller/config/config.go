// Package config reads a pool's configuration from YAML. The fields have the names of caller.Config.
//
//	# yaml-language-server: $schema=./penstock.schema.json
//	name: openai-prod              # processes with the same name and Redis share the quota. Required
//	base_url: https://api.openai.com  # scheme, host, and where needed a path and a query such as ?api-version=…. Required
//	provider: openai               # a name that package provider has; default: generic
//	keys:                          # at least one
//	  - id: k1                     # the key's public name in Redis, metrics and messages. Required
//	    secret: ${OPENAI_KEY_1}    # the API key itself, from the environment. Required
//	    account: org-a             # keys of one account share its limits; default: the id
//	    weight: 2                  # the key's share where strategy uses weights, 1 to 1000000; default: 1
//	accounts:                      # what differs from account to account; default: nothing
//	  - id: org-a                  # the name that keys have in account. Required
//	    base_url: https://eu.example.com/v1  # where its calls are sent, {model} in it is the model; default: the pool's
//	    query: {api-version: "1"}  # parameters of each URL, in place of those of the same names; default: none
//	    header: {X-Region: eu}     # headers of each request, likewise; default: none
//	    models: {gpt-5: my-gpt-5}  # models and their names there, or a list [gpt-5*]; default: every model
//	    limits: [{metric: requests, rate: 6000, period: 60s}]  # in place of those on the same metric and period; default: none
//	    concurrency: 100           # calls in flight of this account; default: the pool's
//	    weight: 2                  # its share where strategy uses weights; default: the highest of its keys
//	limits:                        # what the provider allows; default: none
//	  - metric: requests           # requests, tokens, input_tokens, output_tokens, micro_dollars, or your own. Required
//	    rate: 600                  # units in a period, 1 to 2^50. Required
//	    period: 60s                # 1ms to 8784h. Required, except for daily limits
//	    algorithm: window          # window (never above the limit in any window) or bucket (refills continuously)
//	    reserved: 0.1              # share of rate for other clients of the account, 0 to 0.99; default: 0
//	    burst: 1                   # units at once, 1 to rate; default: see caller.Limit
//	    scope: account             # what the limit applies to: account, key or pool; default: account
//	    models: [gpt-5*, o4-mini]  # the models that the limit counts, together; * stands for any text; default: every call
//	  - metric: tokens
//	    rate: 2_000_000
//	    algorithm: daily           # a count that restarts every day
//	    reset_at: "00:00"          # at that time; default: 00:00
//	    time_zone: America/Los_Angeles  # in that zone; default: UTC
//	concurrency: 20                # calls in flight per account, over all processes; default: no limit
//	tenants:                       # who shares the pool inside the service: see caller.Tenant; default: none
//	  - id: customer-a             # names the tenant in Options.Tenant. Required
//	    weight: 3                  # share beside the others' weights, 0.001 to 1000000; default: 1
//	    guaranteed: 0.2            # share that the tenant gets whatever the weights are, 0 to 0.99; default: 0
//	strategy: least_loaded         # least_loaded, round_robin or first_available: see caller.Strategy
//	retry:                         # attempts, and the time between them: see retry.Policy, also for the defaults
//	  attempts: 5                  # of one call, the first included, 1 to 100; default: 5
//	  base: 250ms                  # ceiling of the first wait, 1ms to 1h
//	  max: 30s                     # ceiling of any wait, 1ms to 24h
//	  multiplier: 2                # growth of the ceiling from attempt to attempt, 1 to 1000
//	  jitter: full                 # full, decorrelated or none
//	  max_elapsed: 10m             # the latest start of an attempt, from the start of the call; default: no limit
//	  budget:                      # of all retries of a process: see retry.NewBudget; default: no limit
//	    share: 0.1                 # of first attempts, 0 to 1. Required
//	    per_second: 1              # retries that are always allowed. Required
//	timeout: 15m                   # of a call, waits and attempts together; default: see caller.Config
//	attempt_timeout: 2m            # of one attempt, until the response's headers; default: none
//	idle_timeout: 2m               # longest time without a byte of a response's body, while it is read; default: 2m
//	ignore_keep_alives: false      # comments of a stream count as silence; default: false
//	max_hold: 30m                  # longest time from sending to the end of the response's body; default: none
//	whole: false                   # a response is read whole before it is returned, else tried again; default: false
//	idempotency_keys: false        # sends Idempotency-Key, for providers that honour it; default: false
//	ramp_up: 10m                   # the limits' pace grows from a tenth to the whole after a cold start; default: at once
//	shadow: false                  # sends every call at once and reports what would have become of it; default: false
//	breaker:                       # circuit breaker of each key and endpoint: see caller.Breaker; default: off
//	  failure_threshold: 10        # failures in a row that open it. Required
//	  open_for: 5s                 # until one call tries again, 1ms to 24h; default: 5s
//	hedge:                         # a second request where the first is slow: see caller.Hedge; default: off
//	  after: 3s                    # best the 95th percentile of latency. Required
//	  percentile: 0.95             # waits for this percentile of recent latency, if that is longer, 0.5 to 0.999
//	adaptive:                      # adapts the calls in flight, up to concurrency: see concurrency.Adaptive; default: off
//	  gradient: false              # follows latency as well as overloads; default: false
//	  min: 1                       # calls in flight that are always allowed; default: 1
//	  initial: 20                  # calls in flight to begin with; default: 20
//	  backoff: 0.9                 # factor by which an overload lowers the limit, 0.01 to 0.99; default: 0.9
//	  window: 250ms                # time between a process's reports, 10ms to session_ttl; default: 250ms
//	  tolerance: 1.5               # factor by which latency may exceed its baseline, 1 to 1000; default: 1.5
//	  smoothing: 0.2               # share of a change that takes effect at once, 0.001 to 1; default: 0.2
//	  queue: 4                     # calls in flight above what latency suggests; default: 4
//	tuning:                        # what the defaults fit in nearly all cases: see caller.Tuning
//	  arrival_jitter: 100ms        # how unevenly calls may arrive, 1ms to 1h; default: 100ms
//	  horizon: 200ms               # how far ahead urgent calls may be booked, 1ms to 1h; default: 200ms
//	  max_rejection: 1h            # longest time for which a rejected key isn't used; default: 1h
//	  aging: 30s                   # after that time a waiting call moves up one priority; default: 30s
//	  max_waiting: 100_000         # calls of a process that may wait; default: 100000
//	  session_ttl: 10s             # how long a dead process's permits stay taken, 1s to 1h; default: 10s
//	  session_name: pod-7          # names the process; default: host name and process number
//	  continue_on_lease_loss: false  # calls go on after their permits were lost; default: false
//	transport:                     # see caller.TransportConfig
//	  max_buffered: 4_194_304      # longest request body that is read before it is sent, in bytes; default: 4 MiB
//	  error_responses: true        # a response that stands for the error of a call; default: false, an error
//
// A metric of your own has a name of letters, digits, _, . and -, and the program gives its cost with each call. A name
// that differs from a common metric's by one or two letters is refused as a mistake.
//
// Zones are those of the machine's IANA database. Where there is none, as in some containers, import time/tzdata.
//
// The first line above lets editors with YAML's language server complete and check the file. The schema is the file
// beside this package's source, which [Schema] also returns.
//
// ${NAME} stands for an environment variable. It is replaced in values, not in names of fields; a variable that isn't
// set is an error. $${ is a plain ${. In braces or brackets, quote the value: {secret: "${NAME}"}. The spellings of other
// tools, such as $NAME and os.environ/NAME, are errors.
//
// Anchors, aliases and merge keys (<<) work as in YAML 1.1. A top-level field that only holds an anchor may have any
// name that isn't nearly a known one.
//
// Every problem is reported, each as an [*Error] with file, line and column. No message shows a value from the file or
// from the environment, because it can be a secret in the wrong place. A field of an earlier version is an error that
// names its successor.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/penstock/penstock/caller"
)

// Pool is a checked configuration.
type Pool struct {
	// Caller is what [caller.New] takes.
	Caller caller.Config
	// Transport is what [caller.Pool.Transport] takes.
	Transport caller.TransportConfig
	// BaseURL is where the provider's API begins. Its path has no slash at the end. See URL for the URL of a request.
	BaseURL *url.URL
	// Provider is the name of the profile in Caller.
	Provider string
}

// Error is one problem of a configuration.
type Error struct {
	File   string // as given to Load or Parse
	Line   int    // from 1; 0 if the problem concerns the whole file
	Column int    // from 1
	Field  string // such as keys[0].secret; empty if the problem concerns no field
	Msg    string // what is wrong and what to do
}

// Error returns the problem as file:line:column: field: message.
func (e *Error) Error() string {
	s := e.File + ": "
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	}
	if e.Field != "" {
		s += e.Field + ": "
	}
	return s + e.Msg
}

// Load reads the configuration in the file, with variables from the process's environment. Problems of the contents are
// joined, each an [*Error]; others are those of [os.ReadFile].
func Load(file string) (*Pool, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(file, src, os.LookupEnv)
}

// Parse reads the configuration in src, in UTF-8 with or without a byte order mark. The file's name is for messages; lookup
// returns an environment variable.
func Parse(file string, src []byte, lookup func(name string) (string, bool)) (*Pool, error) {
	r := &reader{file: file, lookup: lookup}
	body, err := r.parse(src)
	if err != nil {
		return nil, err
	}
	r.anchors = newAnchors(body)
	pool := r.pool(body)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return pool, nil
}

// parse returns the file's one document. The parser's messages quote the source, so only their position and names in
// lower case are kept.
func (r *reader) parse(src []byte) (ast.Node, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		return nil, &Error{File: r.file, Msg: "is UTF-16; save it as UTF-8"}
	}
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		e := &Error{File: r.file, Msg: "not valid YAML"}
		if y, ok := errors.AsType[yaml.Error](err); ok && y.GetToken() != nil {
			e.Line, e.Column = y.GetToken().Position.Line, y.GetToken().Position.Column
			e.Msg = "not valid YAML: " + withoutQuotes(y.GetMessage())
			if strings.Contains(e.Msg, "must be specified") && unquoted(src, e.Line) {
				e.Msg = `not valid YAML: in braces or brackets, a value with ${NAME} needs quotes; write {secret: "${NAME}"}`
			}
		}
		return nil, e
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, r.at(doc.Body, "", "a second document; keep one in a file")
		}
		body = doc.Body
	}
	if body == nil {
		return nil, &Error{File: r.file, Msg: "empty; at least name, base_url and keys are required"}
	}
	return body, nil
}

// unquoted reports whether a line has a variable outside of quotes.
func unquoted(src []byte, line int) bool {
	lines := bytes.Split(src, []byte("\n"))
	if line < 1 || line > len(lines) {
		return false
	}
	for before, rest := "", string(lines[line-1]); ; {
		head, tail, found := strings.Cut(rest, "${")
		if !found {
			return false
		}
		before += head
		if strings.Count(before, `"`)%2 == 0 && strings.Count(before, "'")%2 == 0 {
			return true
		}
		rest = tail
	}
}
