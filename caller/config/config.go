// Package config reads a pool's configuration from YAML.
//
//	pool: openai-prod              # processes with the same pool and Redis share the quota. Required
//	base_url: https://api.openai.com  # scheme, host and, where there is one, a path that every call starts with. Required
//	provider: openai               # a name that package provider knows; default: generic
//	keys:                          # at least one
//	  - id: k1                     # the key's public name in Redis, metrics and messages. Required
//	    secret: ${OPENAI_KEY_1}    # what the provider knows the key by; from the environment. Required
//	    account: org-a             # keys of one account share its limits; default: the key itself
//	    weight: 2                  # the key's part where the strategy goes by weights; default: 1
//	limits:                        # what the provider allows; default: none
//	  - metric: requests           # requests, tokens, input_tokens, output_tokens or micro_dollars. Required
//	    limit: 600                 # units in a period, 1 to 2^50. Required
//	    per: 60s                   # 1ms to 8784h. Required, except for a daily limit
//	    algorithm: window          # window (never above the limit in any window), bucket (refills continuously) or daily
//	    burst: 1                   # units at once, 1 to limit; default: see caller.Limit
//	    scope: account             # what has the limit: each account (default), each key, or the pool
//	    models: [gpt-4o*]          # the models that it counts together, * for any text; default: every request
//	    time_zone: UTC             # where a daily limit starts anew; default: UTC
//	    reset_at: 0h               # and at what time of the day; default: midnight
//	concurrency: 20                # calls in flight per account, over all processes; default: no limit
//	strategy: headroom             # which ready account is taken: headroom, round_robin or in_order; default: headroom
//	retry:                         # times between attempts: see retry.Policy, also for the defaults
//	  attempts: 5                  # of one call, the first included, 1 to 100; default: 5
//	  base: 250ms                  # ceiling of the first wait
//	  max: 30s                     # ceiling of any wait
//	  max_elapsed: 10m             # the latest start of an attempt, from the call's beginning; default: no limit
//	slack: 100ms                   # how unevenly calls may arrive; default: see caller.Config
//	ttl: 10s                       # how long a dead process's permits stay taken, at least 1s; default: 10s
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
