package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
)

// Defaults of Config.
const (
	defaultBuffer     = 4 << 20
	defaultMaxBody    = 1 << 30
	defaultClientIdle = 30 * time.Second
	defaultName       = "gateway"
	defaultKeepDays   = 35
)

// Pool is a pool that the gateway makes calls of, and where they go.
type Pool struct {
	// Name is the pool's name in routes and messages. Required, unique.
	Name string
	// Caller makes the calls. Its Config should have the Hooks that Hooks returns. Required.
	Caller *caller.Pool
	// BaseURL is where the provider's API begins. A request's path is added to it; an API version that both have, such as v1,
	// stands there once. Required.
	BaseURL *url.URL
	// Profile is the Profile of the pool's Config. It finds models, estimates cost and shapes errors. Defaults to the HTTP
	// standard.
	Profile caller.Profile
	// Base sends the requests. Defaults to caller.NewHTTPTransport(0) without compression of its own.
	Base http.RoundTripper
}

// Route sends some of the requests to a pool. It fits a request whose path and model fit.
type Route struct {
	// Path is the beginning of paths that fit, in whole segments: /v1 fits /v1 and /v1/models, not /v1beta. Defaults to any.
	Path string
	// Strip takes Path off the path before the request is sent. Defaults to false: the path stays.
	Strip bool
	// Models are the models that fit; * stands for any text. Defaults to any, also to requests without a model.
	Models []string
	// Pool is the name of the pool. Required.
	Pool string
}

// Config configures a Gateway. The zero Config has the defaults.
type Config struct {
	// Routes are tried in their order, and the first that fits gets the request. Defaults to one route, which sends every
	// request to the first pool.
	Routes []Route
	// Clients are those who may use the gateway. Defaults to none: every request is served, with any token.
	Clients []Client
	// Redis holds the clients' usage and caps. Required if a client has a cap. Defaults to none: usage isn't counted.
	Redis redis.UniversalClient
	// Name names the clients' usage in Redis. Gateways with the same name share caps and usage. Defaults to "gateway".
	Name string
	// KeepDays is the number of days of usage that Redis keeps, today included. At least 1. Defaults to 35.
	KeepDays int
	// Prices are tried in their order, and the first that fits a model is its price. Defaults to none: nothing has a cost.
	Prices []Price
	// Buffer is the longest beginning of a request's body that is kept in memory, in bytes. A body up to this size can be sent
	// more than once; of a larger one the rest is passed on as it arrives. At least 1 KiB. Defaults to 4 MiB.
	Buffer int64
	// MaxBody is the longest body of a request, in bytes. At least Buffer. Defaults to 1 GiB.
	MaxBody int64
	// MaxWait is the longest time that a call waits for admission; X-Penstock-Wait can shorten it. At least 0. Defaults to 0:
	// the pool's Timeout bounds the call.
	MaxWait time.Duration
	// ClientIdle is the time that a client may take in addition to MinRate to send a body, and the longest time in which it
	// takes no byte of its answer. It doesn't bound the length of a stream. More than 0. Defaults to 30 s.
	ClientIdle time.Duration
	// MinRate is the least rate at which a client sends a body, in bytes per second. At least 1. Defaults to 1 KiB.
	MinRate int64
	// Ended is called when a request has ended. Optional.
	Ended func(Event)
}

// Event is a request that has ended. It has nothing of its body and no secret.
type Event struct {
	Client, Pool, Model string // empty: not known
	Key                 string // ID of the last attempt's key; empty: there was no attempt
	Method, Path        string
	Status              int // 0: the client left before the answer
	Refused             string
	Attempts            int
	Waited, Took        time.Duration

	InputTokens, OutputTokens int64 // as the provider reports them, if the pool has Hooks
	Microdollars              int64 // by Config.Prices
}

// withDefaults returns the configuration with its defaults, or an error for the first field that is wrong.
func (c Config) withDefaults(pools []Pool) (Config, error) {
	if c.Buffer == 0 {
		c.Buffer = defaultBuffer
	}
	if c.MaxBody == 0 {
		c.MaxBody = max(defaultMaxBody, c.Buffer)
	}
	if c.ClientIdle == 0 {
		c.ClientIdle = defaultClientIdle
	}
	if c.MinRate == 0 {
		c.MinRate = 1 << 10
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	if c.KeepDays == 0 {
		c.KeepDays = defaultKeepDays
	}
	for i := range c.Prices {
		if err := c.Prices[i].check(); err != nil {
			return c, err
		}
	}
	switch {
	case c.KeepDays < 0:
		return c, fmt.Errorf("Config.KeepDays is %d: use at least 1, or 0 for the default", c.KeepDays)
	case c.Buffer < 1<<10:
		return c, fmt.Errorf("Config.Buffer is %d: use at least 1024", c.Buffer)
	case c.MaxBody < c.Buffer:
		return c, fmt.Errorf("Config.MaxBody is %d: use at least Buffer, %d", c.MaxBody, c.Buffer)
	case c.MaxWait < 0:
		return c, fmt.Errorf("Config.MaxWait is %v: use more than 0, or 0 for no bound", c.MaxWait)
	case c.ClientIdle < 0:
		return c, fmt.Errorf("Config.ClientIdle is %v: use more than 0, or 0 for the default", c.ClientIdle)
	case c.MinRate < 0:
		return c, fmt.Errorf("Config.MinRate is %d: use at least 1, or 0 for the default", c.MinRate)
	}
	if len(c.Routes) == 0 {
		c.Routes = []Route{{Pool: pools[0].Name}}
	}
	return c, nil
}

// checkPools returns an error for the first pool that is wrong.
func checkPools(pools []Pool) error {
	if len(pools) == 0 {
		return errors.New("gateway.New: there is no pool; give at least one")
	}
	names := map[string]bool{}
	for i, p := range pools {
		switch {
		case p.Name == "" || names[p.Name]:
			return fmt.Errorf("Pool %d: its Name %q is empty or used twice", i, p.Name)
		case p.Caller == nil:
			return fmt.Errorf("Pool %q: Caller is nil; give it the pool", p.Name)
		case p.BaseURL == nil || p.BaseURL.Host == "" || p.BaseURL.Scheme != "http" && p.BaseURL.Scheme != "https":
			return fmt.Errorf("Pool %q: BaseURL must be a full URL, such as https://api.openai.com", p.Name)
		}
		names[p.Name] = true
	}
	return nil
}

// check returns an error for a route that is wrong. pools has the names of all pools.
func (r Route) check(pools map[string]*upstream) error {
	switch {
	case pools[r.Pool] == nil:
		return fmt.Errorf("Route.Pool is %q: no pool has that name", r.Pool)
	case r.Path != "" && !strings.HasPrefix(r.Path, "/"):
		return fmt.Errorf("Route.Path is %q: begin it with a slash", r.Path)
	case r.Strip && r.Path == "":
		return errors.New("Route.Strip needs a Path")
	}
	if slices.Contains(r.Models, "") {
		return errors.New("Route.Models has an empty name: leave it out, or write * for any model")
	}
	return nil
}
