package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/scripts"
)

// Caps bound what a client may use in a window, over all processes. 0: no cap.
type Caps struct {
	Requests     int64 // that were sent to the provider
	Tokens       int64 // of prompts and answers
	Microdollars int64 // by Config.Prices; a micro-dollar is a millionth of a dollar
}

// Price is what tokens of some models cost. A provider's discounts, such as that for cached prompts, aren't counted.
type Price struct {
	// Models are the models that have this price; * stands for any text. At least one.
	Models []string
	// Input and Output are dollars per million tokens of prompts and of answers. At least 0.
	Input, Output float64
}

// cost returns the price of tokens in micro-dollars, rounded up: a dollar per million tokens is a micro-dollar per token.
func (p *Price) cost(input, output int64) int64 {
	return int64(math.Ceil(p.Input*float64(input) + p.Output*float64(output)))
}

func (p *Price) check() error {
	if len(p.Models) == 0 {
		return errors.New("Price.Models is empty: name models, or * for all")
	}
	for _, v := range []float64{p.Input, p.Output} {
		if !(v >= 0 && v <= 1e9) {
			return fmt.Errorf("Price of %q is %g: use dollars per million tokens, from 0 to 1e9", p.Models, v)
		}
	}
	return nil
}

// price returns the price of a model, or nil.
func (g *Gateway) price(model string) *Price {
	for i := range g.cfg.Prices {
		if p := &g.cfg.Prices[i]; fitsAny(p.Models, model) {
			return p
		}
	}
	return nil
}

// capNames name the caps in the order of scripts.ClientCaps.
var capNames = [6]string{
	"requests a minute", "tokens a minute", "micro-dollars a minute", "requests a day", "tokens a day", "micro-dollars a day",
}

// Indices of scripts.ClientUnits.
const (
	unitRequests = iota
	unitTokens
	unitMicrodollars
)

// maxCap is the highest cap. Above it Redis' numbers lose units.
const maxCap = 1 << 52

// newCaps returns a client's caps, or an error.
func newCaps(c *Client) (caps scripts.ClientCaps, capped bool, err error) {
	for i, n := range []int64{
		c.PerMinute.Requests, c.PerMinute.Tokens, c.PerMinute.Microdollars, c.PerDay.Requests, c.PerDay.Tokens, c.PerDay.Microdollars,
	} {
		if n < 0 || n > maxCap {
			return caps, false, fmt.Errorf("Client %q: its cap of %s is %d: use 1 to 2^52, or 0 for no cap", c.Name, capNames[i], n)
		}
		caps[i] = n
		if n == 0 {
			caps[i] = -1
		}
		capped = capped || n > 0
	}
	return caps, capped, nil
}

// counts reports whether the client has a cap of a unit.
func (c *client) counts(unit int) bool { return c.caps[unit] >= 0 || c.caps[unit+3] >= 0 }

// charge takes the call's estimated units of the client's caps.
func (x *exchange) charge(r *http.Request) *refusal {
	c, g := x.client, x.gateway
	if !c.capped {
		return nil
	}
	units, refused := x.estimate(r)
	if refused != nil {
		return refused
	}
	for i, most := range c.caps {
		if n := units[i%3]; most >= 0 && n > most {
			return &refusal{
				status: http.StatusRequestEntityTooLarge, code: "never_fits",
				text: fmt.Sprintf("the call is estimated at %d, more than the client's cap of %d %s: send less", n, most, capNames[i]),
			}
		}
	}
	t, err := g.ledger.charge(r.Context(), c, units)
	if over, ok := errors.AsType[*overCapError](err); ok {
		return &refusal{
			status: http.StatusTooManyRequests, code: "client_cap", retryAfter: max(over.left, time.Second),
			text: fmt.Sprintf("the client's cap of %d %s is used up: wait until its window ends", c.caps[over.cap], capNames[over.cap]),
		}
	}
	if err != nil {
		return &refusal{
			status: http.StatusServiceUnavailable, code: "unavailable", retryAfter: time.Second,
			text: "the client's caps can't be checked, because Redis doesn't answer: try again later",
		}
	}
	x.ticket = t
	return nil
}

// estimate returns what the call will take of the client's caps.
func (x *exchange) estimate(r *http.Request) (units scripts.ClientUnits, _ *refusal) {
	units[unitRequests] = 1
	if !x.client.counts(unitTokens) && !x.client.counts(unitMicrodollars) {
		return units, nil
	}
	input, output, total := x.estimateTokens(r)
	units[unitTokens] = total
	if !x.client.counts(unitMicrodollars) || x.model == "" && x.certain {
		return units, nil
	}
	p := x.gateway.price(x.model)
	if p == nil {
		return units, &refusal{
			status: http.StatusForbidden, code: "no_price",
			text: "the client has a cap in micro-dollars, and the request's model has no price: use another, or add its price to the configuration",
		}
	}
	units[unitMicrodollars] = p.cost(input, output)
	return units, nil
}

// estimateTokens returns the tokens of the prompt, the answer and both, by the pool's profile.
func (x *exchange) estimateTokens(r *http.Request) (input, output, total int64) {
	estimate := x.route.to.Profile.Estimate
	if estimate == nil {
		return 0, 0, 0
	}
	if !x.body.whole { // the pool charges the length, too
		n := max(r.ContentLength, int64(len(x.body.head)))
		return n, 0, n
	}
	cost := estimate(r, x.body.head)
	return tokensOf(cost)
}

// tokensOf returns the tokens of a cost. Where only the sum is known, it counts as input.
func tokensOf(cost caller.Cost) (input, output, total int64) {
	input, output, total = max(cost[caller.InputTokens], 0), max(cost[caller.OutputTokens], 0), max(cost[caller.Tokens], 0)
	if input == 0 && total > output {
		input = total - output
	} else if output == 0 && total > input {
		output = total - input
	}
	return input, output, max(total, input+output)
}
