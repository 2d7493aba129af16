package gateway

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/scripts"
)

// Hooks returns the Hooks by which a pool shows a Gateway what its calls used. Join them to those of the pool's Config.
func Hooks() caller.Hooks {
	return caller.Hooks{UsageRead: func(ctx context.Context, u caller.Usage) {
		if x := exchangeFrom(ctx); x != nil {
			x.used(&u)
		}
	}}
}

// tokensUsed is what the answers to an exchange's attempts say they took.
type tokensUsed struct {
	known                bool
	model                string
	input, output, total int64
}

// used notes the usage of an attempt.
func (x *exchange) used(u *caller.Usage) {
	input, output, total := tokensOf(u.Actual)
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &x.usage
	s.known, s.model = true, u.Model
	s.input, s.output, s.total = s.input+input, s.output+output, s.total+total
}

// settle corrects the client's charge by what the call used, and counts that. status is that of the answer.
func (x *exchange) settle(status int) {
	x.mu.Lock()
	used, attempts := x.usage, x.attempts
	x.mu.Unlock()
	e := &x.event
	e.InputTokens, e.OutputTokens = used.input, used.output
	model := cmp.Or(x.model, used.model)
	if p := x.gateway.price(model); p != nil {
		e.Microdollars = p.cost(used.input, used.output)
	}
	l := x.gateway.ledger
	if l == nil || x.client == nil || attempts == 0 && x.ticket == nil {
		return
	}
	if attempts == 0 {
		l.settle(x.client, x.ticket, scripts.ClientUnits{}, nil)
		return
	}
	actual := scripts.ClientUnits{1, used.total, e.Microdollars}
	if x.ticket != nil && !used.known && (status < http.StatusBadRequest || e.Refused == "canceled") {
		actual = x.ticket.units // the answer doesn't say, so the estimate stays
	}
	if status >= http.StatusBadRequest && !used.known || len(model) > maxModel {
		model = "" // a failed request may name anything
	}
	l.settle(x.client, x.ticket, actual, &scripts.ClientCalls{
		Model: model, Requests: 1, Input: used.input, Output: used.output, Microdollars: e.Microdollars,
	})
}

// ClientUsage is what a client used of a model on a day, over all processes.
type ClientUsage struct {
	Client       string    `json:"client"`
	Day          time.Time `json:"day"`   // its beginning, in UTC
	Model        string    `json:"model"` // empty: not known, or the requests failed
	Requests     int64     `json:"requests"`
	InputTokens  int64     `json:"input_tokens"`
	OutputTokens int64     `json:"output_tokens"`
	Microdollars int64     `json:"microdollars"`
}

// ReadUsage returns the usage of all clients of the gateways of that name, sorted by day, client and model. The last second
// of each process isn't in it. It needs HGETALL on the key penstock:gateway:{NAME} only.
func ReadUsage(ctx context.Context, rdb redis.Cmdable, name string) ([]ClientUsage, error) {
	fields, err := rdb.HGetAll(ctx, scripts.ClientUsageKey(cmp.Or(name, defaultName))).Result()
	if err != nil {
		return nil, err
	}
	all := []ClientUsage{}
	for field, value := range fields {
		if d, ok := scripts.ParseClientDay(field, value); ok {
			all = append(all, ClientUsage{
				Client: d.Client, Day: d.Day, Model: d.Model, Requests: d.Requests, InputTokens: d.Input, OutputTokens: d.Output,
				Microdollars: d.Microdollars,
			})
		}
	}
	slices.SortFunc(all, func(a, b ClientUsage) int {
		return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Model, b.Model))
	})
	return all, nil
}

// Usage returns the usage of all clients, as ReadUsage does. It is empty without Config.Redis.
func (g *Gateway) Usage(ctx context.Context) ([]ClientUsage, error) {
	if g.cfg.Redis == nil {
		return nil, nil
	}
	return ReadUsage(ctx, g.cfg.Redis, g.cfg.Name)
}
