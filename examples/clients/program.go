package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// program is one of the users' programs.
type program struct {
	name    string
	about   string
	command []string
	env     []string
	calls   int
	rate    int64 // requests in a period
}

// period is the length of the provider's windows.
const period = 7 * time.Second

// programs are the users' programs. The provider's quota lets each run for seven to ten seconds.
func programs(python string) []program {
	return []program{
		{"prompts", "asyncio, aiohttp, semaphore of 10", []string{python, "examples/clients/python/prompts.py"}, nil, 50, 47},
		{"in_flight", "httpx, 15 in flight", []string{python, "examples/clients/python/in_flight.py"}, nil, 200, 185},
		{"producer_consumer", "500 workers, 100,000 a minute", []string{python, "examples/clients/python/producer_consumer.py"}, nil, 1000, 900},
		{"threads", "thread pool of 20, tenacity, httpx", []string{python, "examples/clients/python/threads.py"}, nil, 1000, 750},
		{"limited", "Node, axios, p-limit of 10", []string{"node", "examples/clients/node/limited.mjs"}, nil, 100, 92},
		{"sdk", "Node, openai SDK", []string{"node", "examples/clients/node/sdk.mjs"}, nil, 80, 72},
		{"sdk_streamed", "Node, openai SDK, streamed", []string{"node", "examples/clients/node/sdk.mjs"}, []string{"STREAM=1"}, 80, 72},
	}
}

// result is what a run of a program came to.
type result struct {
	program
	OK      int     `json:"ok"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	ledger  apisim.Ledger
	stalls  float64 // share of the time in which the machine was too busy for this process to run
	busy    bool    // too much of it to judge how much of the quota was used
}

func (r *result) write(where string) {
	fmt.Printf("| %s | %d | %s | %d | %d | %.1f %% | %.1f s |\n", r.about, r.Calls, where, r.OK, r.ledger.Throttled(),
		100*r.ledger.Utilization(apisim.Requests), r.Seconds)
}

// check returns an error for a run through the gateway that isn't as promised.
func (r *result) check() error {
	var errs []error
	if r.OK != r.calls || r.Calls != r.calls {
		errs = append(errs, fmt.Errorf("%s: %d of %d calls were answered, want all", r.name, r.OK, r.calls))
	}
	if n := r.ledger.Throttled(); n > 0 {
		errs = append(errs, fmt.Errorf("%s: the provider sent %d 429s, want none", r.name, n))
	}
	if u := r.ledger.Utilization(apisim.Requests); u < 0.98 && r.busy {
		fmt.Fprintf(os.Stderr, "%s: %.1f %% of the quota was used; stalls took %.1f %% of the time, too much to judge that\n",
			r.name, 100*u, 100*r.stalls)
	} else if u < 0.98 {
		errs = append(errs, fmt.Errorf("%s: %.1f %% of the quota was used, want at least 98 %%", r.name, 100*u))
	}
	return errors.Join(errs...)
}
