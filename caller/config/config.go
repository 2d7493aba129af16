// Package config reads a pool's configuration from YAML.
//
//	# yaml-language-server: $schema=./penstock.schema.json
//	pool: openai-prod              # processes with the same pool and Redis share the quota. Required
//	base_url: https://api.openai.com  # scheme, host and, where there is one, a path that every call starts with. Required
//	provider: openai               # a name that package provider knows; default: generic
//	keys:                          # at least one
//	  - id: k1                     # the key's public name in Redis, metrics and messages. Required
//	    secret: ${OPENAI_KEY_1}    # what the provider knows the key by; from the environment. Required
//	    account: org-a             # keys of one account share its limits; default: the key itself
//	    weight: 2                  # its part where strategy goes by weights, 1 to 1000000; default: 1
//	strategy: least_loaded         # least_loaded, round_robin or first_available: see caller.Strategy
//	limits:                        # what the provider allows; default: none
//	  - metric: requests           # requests, tokens, input_tokens, output_tokens, micro_dollars, or one of your own. Required
//	    limit: 600                 # units in a period, 1 to 2^50. Required
//	    per: 60s                   # 1ms to 8784h. Required, but for daily limits
//	    algorithm: window          # window (never above the limit in any window) or bucket (refills continuously)
//	    headroom: 0.1              # the part of limit that is left to others, 0 to 0.99; default: 0
//	    burst: 1                   # units at once, 1 to limit; default: see caller.Limit
//	    scope: account             # what has the limit: account, key or pool; default: account
//	    models: [gpt-5*, o4-mini]  # what the limit counts, together; * stands for any text; default: every call
//	  - metric: tokens
//	    limit: 2_000_000
//	    algorithm: daily           # a count that starts anew every day
//	    reset_at: "00:00"          # at that time; default: 00:00
//	    time_zone: America/Los_Angeles  # there; default: UTC
//	concurrency: 20                # calls in flight per account, over all processes; default: no limit
//	adaptive:                      # makes that follow what calls meet, up to concurrency: see concurrency.Adaptive; default: off
//	  gradient: false              # latency, too; default: false
//	  min: 1                       # calls in flight that are always allowed; default: 1
//	  initial: 20                  # to begin with; default: 20
//	  backoff: 0.9                 # by which an overload lowers it, 0.01 to 0.99; default: 0.9
//	  window: 250ms                # how often a process tells, 10ms to ttl; default: 250ms
//	  tolerance: 1.5               # of latency above the baseline, 1 to 1000; default: 1.5
//	  smoothing: 0.2               # part of a change that takes effect at once, 0.001 to 1; default: 0.2
//	  queue: 4                     # calls more than latency tells that are tried; default: 4
//	retry:                         # times between attempts: see retry.Policy, also for the defaults
//	  attempts: 5                  # of one call, the first included, 1 to 100; default: 5
//	  base: 250ms                  # ceiling of the first wait
//	  max: 30s                     # ceiling of any wait
//	  multiplier: 2                # what the ceiling grows by, 1 to 1000
//	  jitter: full                 # full, decorrelated or none
//	  max_elapsed: 10m             # the latest start of an attempt, from the call's beginning; default: no limit
//	  budget:                      # of all retries of a process: see retry.NewBudget; default: no limit
//	    share: 0.1                 # of first attempts, 0 to 1. Required
//	    per_second: 1              # that are always allowed. Required
//	timeout: 15m                   # of a call, waits and attempts together; default: none
//	attempt_timeout: 2m            # of each attempt, until its answer is there; default: none
//	idempotency_keys: false        # each call gets one, for providers that heed it: see caller.Config; default: false
//	breaker:                       # of each key and endpoint: see caller.Breaker; default: off
//	  failures: 10                 # in a row that open it. Required
//	  open_for: 5s                 # until one call tries again, 1ms to 24h; default: 5s
//	hedge:                         # a second request where the first is slow: see caller.Hedge; default: off
//	  after: 3s                    # best what 95 % of the calls are faster than. Required
//	  percentile: 0.95             # the wait that this share of the latest calls is faster than, if longer, 0.5 to 0.999
//	slack: 100ms                   # how unevenly calls may arrive; default: see caller.Config
//	horizon: 200ms                 # how far ahead urgent calls may be booked; default: see caller.Config
//	aging: 30s                     # how long a call waits until it counts as one of the next higher priority; default: 30s
//	max_waiting: 100_000           # calls of a process that may wait; default: 100000
//	ttl: 10s                       # how long a dead process's permits stay taken, at least 1s; default: 10s
//	outlive_lease: false           # calls go on although their permits are lost: see caller.Config; default: false
//	session: pod-7                 # names the process; default: host name and process number
//	plain_errors: false            # see caller.Config; default: false
//
// A metric of your own has a name of letters, digits, _, . and -, and the program says with each call what it costs. A name
// that differs from a common metric's by one or two letters is refused as a mistake.
//
// Zones are those of the machine's IANA database. Where there is none, as in some containers, import time/tzdata.
//
// The first line above lets editors that know YAML's language server complete and check the file, by the schema beside
// this package's source, which [Schema] returns too.
//
// ${NAME} stands for an environment variable. It is replaced in values only, never in names of fields; a variable that
// isn't set is an error. $${ is a plain ${. Quote a value with ${NAME} that stands in braces: {secret: "${NAME}"}.
//
// Every problem is reported, each as an [*Error] with file, line and column. No message shows a value from the file or
// from the environment, so that a secret can't leak through one, wherever it was put by mistake.
package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/penstock/penstock/caller"
)

// Pool is one configuration, checked.
type Pool struct {
	// Caller is what [caller.New] takes.
	Caller caller.Config
	// Transport is what [caller.Pool.Transport] takes.
	Transport caller.TransportConfig
	// BaseURL is where the provider's API begins. Its path has no slash at the end.
	BaseURL *url.URL
	// Provider is the name of the profile in Caller.
	Provider string
}

// Error is one problem of a configuration.
type Error struct {
	File   string // as given to Load or Parse
	Line   int    // from 1; 0 where the whole file is meant
	Column int    // from 1
	Field  string // as in keys[0].secret; empty where none is concerned
	Msg    string // what is wrong and what to change
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

// Parse reads the configuration in src. The file's name is for messages; lookup finds an environment variable.
func Parse(file string, src []byte, lookup func(name string) (string, bool)) (*Pool, error) {
	r := &reader{file: file, lookup: lookup}
	body, err := r.parse(src)
	if err != nil {
		return nil, err
	}
	pool := r.pool(body)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return pool, nil
}

// parse returns the file's one document. The parser's own messages quote the source, so only their position and the
// words that can't come from the file are kept.
func (r *reader) parse(src []byte) (ast.Node, error) {
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		e := &Error{File: r.file, Msg: "not valid YAML"}
		if y, ok := errors.AsType[yaml.Error](err); ok && y.GetToken() != nil {
			e.Line, e.Column = y.GetToken().Position.Line, y.GetToken().Position.Column
			e.Msg = "not valid YAML: " + withoutQuotes(y.GetMessage())
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
		return nil, &Error{File: r.file, Msg: "empty; at least pool, base_url and keys are required"}
	}
	return body, nil
}
