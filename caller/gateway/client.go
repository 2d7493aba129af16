package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/scripts"
)

// Client is who may use the gateway: a program or a team that has tokens of its own.
type Client struct {
	// Name names the client in events and usage. Required, unique.
	Name string
	// Tokens are the hashes of the client's tokens. At least one. No two clients have the same.
	Tokens []TokenHash
	// Ceiling is the highest priority of the client's calls. A call that asks for more has this one. Defaults to
	// PriorityNormal.
	Ceiling caller.Priority
	// Models are the models that the client may use; * stands for any text. Defaults to all.
	Models []string
	// MaxWaiting is the number of the client's requests that may wait in this process. A further request is refused. At least
	// 0. Defaults to 0: no limit of its own.
	MaxWaiting int
	// PerMinute and PerDay are caps, which hold over all processes. Their windows are minutes and days of UTC by Redis'
	// clock. A call is charged its estimate before it is sent, and what it really used after its answer. A call that exceeds
	// a cap is refused with the status 429. Defaults to none.
	PerMinute, PerDay Caps
	// Share is the client's weight and Guaranteed its least share of a pool, as in caller.Tenant. They have an effect in
	// pools whose Config.Tenants are those that Tenants returns, or have the client's Name as an ID. Default to 0: the
	// weight is 1, and nothing is guaranteed.
	Share, Guaranteed float64
}

// Tenants returns the tenants that a pool's Config needs for the shares of clients: each client is one, with its name as ID.
// It returns nil if no client has a Share or Guaranteed. caller.New checks them.
func Tenants(clients []Client) []caller.Tenant {
	if !slices.ContainsFunc(clients, func(c Client) bool { return c.Share != 0 || c.Guaranteed != 0 }) {
		return nil
	}
	all := make([]caller.Tenant, 0, len(clients))
	for i := range clients {
		c := &clients[i]
		all = append(all, caller.Tenant{ID: c.Name, Weight: c.Share, Guaranteed: c.Guaranteed})
	}
	return all
}

// TokenHash is the SHA-256 of a token. A token is a random text of at least 16 bytes, so the hash needs no salt.
type TokenHash [sha256.Size]byte

// minToken is the length of the shortest token, in bytes.
const minToken = 16

// HashToken returns the hash of a token.
func HashToken(token string) (TokenHash, error) {
	if len(token) < minToken {
		return TokenHash{}, fmt.Errorf("the token has %d bytes: use a random one of at least %d", len(token), minToken)
	}
	return sha256.Sum256([]byte(token)), nil
}

// ParseTokenHash reads a hash as 64 hexadecimal digits.
func ParseTokenHash(s string) (TokenHash, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return TokenHash{}, errors.New("the token's hash must be 64 hexadecimal digits: the SHA-256 of the token")
	}
	return TokenHash(b), nil
}

// client is a checked Client.
type client struct {
	Client
	waiting atomic.Int64
	caps    scripts.ClientCaps
	capped  bool
	reserve reserve // guarded by the ledger's lock
}

// directory finds the client of a token.
type directory struct {
	salt    [sha256.Size]byte
	clients map[[sha256.Size]byte]entry
	capped  bool // a client has a cap
}

type entry struct {
	hash   TokenHash
	client *client
}

// newDirectory returns nil if there are no clients.
func newDirectory(clients []Client) (*directory, error) {
	if len(clients) == 0 {
		return nil, nil //nolint:nilnil // no directory: every request is served
	}
	d := &directory{clients: map[[sha256.Size]byte]entry{}}
	_, _ = rand.Read(d.salt[:]) // never fails
	names := map[string]bool{}
	for i, c := range clients {
		switch {
		case c.Name == "" || names[c.Name]:
			return nil, fmt.Errorf("Client %d: its Name %q is empty or used twice", i, c.Name)
		case len(c.Tokens) == 0:
			return nil, fmt.Errorf("Client %q has no Tokens: give it at least one", c.Name)
		case c.Ceiling < caller.PriorityLow || c.Ceiling > caller.PriorityHigh:
			return nil, fmt.Errorf("Client %q: Ceiling is %d: use PriorityLow, PriorityNormal or PriorityHigh", c.Name, c.Ceiling)
		case c.MaxWaiting < 0:
			return nil, fmt.Errorf("Client %q: MaxWaiting is %d: use more than 0, or 0 for no limit", c.Name, c.MaxWaiting)
		}
		names[c.Name] = true
		its := &client{Client: c}
		var err error
		if its.caps, its.capped, err = newCaps(&c); err != nil {
			return nil, err
		}
		d.capped = d.capped || its.capped
		for _, hash := range c.Tokens {
			at := d.place(hash)
			if _, taken := d.clients[at]; taken {
				return nil, fmt.Errorf("Client %q has a token twice, or that of another client: give it one of its own", c.Name)
			}
			d.clients[at] = entry{hash, its}
		}
	}
	return d, nil
}

// place returns where a hash stands in the map. The salt keeps the time of a look-up from saying anything of the hash.
func (d *directory) place(hash TokenHash) [sha256.Size]byte {
	return sha256.Sum256(append(d.salt[:], hash[:]...))
}

// find returns the client of a token, or nil.
func (d *directory) find(token string) *client {
	hash := TokenHash(sha256.Sum256([]byte(token)))
	e := d.clients[d.place(hash)]
	if subtle.ConstantTimeCompare(e.hash[:], hash[:]) != 1 {
		return nil
	}
	return e.client
}

// tokenOf returns the token of a request, where client libraries of providers send it.
func tokenOf(r *http.Request) string {
	for _, name := range credentials {
		v := r.Header.Get(name)
		if name == "Cookie" || v == "" {
			continue
		}
		if name != "Authorization" {
			return v
		}
		if scheme, token, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token)
		}
	}
	return r.URL.Query().Get("key") // Gemini's client libraries
}

// identify finds the client of a request. Its token in the query is taken off.
func (x *exchange) identify(r *http.Request) *refusal {
	d := x.gateway.directory
	if d == nil {
		return nil
	}
	token := tokenOf(r)
	if x.client = d.find(token); x.client == nil {
		return &refusal{
			status: http.StatusUnauthorized, code: "unknown_token",
			text: "the token belongs to no client: send a client's token as the API key",
		}
	}
	x.event.Client = x.client.Name
	if q := r.URL.Query(); q.Get("key") == token {
		q.Del("key")
		u := *r.URL
		u.RawQuery = q.Encode()
		r.URL = &u
	}
	return nil
}

// needsModel reports whether the model of the client's requests decides whether it may make them.
func (c *client) needsModel() bool { return len(c.Models) > 0 || c.counts(unitMicrodollars) }

// permit checks what the client may do.
func (c *client) permit(model string, certain bool) *refusal {
	if len(c.Models) == 0 || model == "" && certain {
		return nil
	}
	if model == "" {
		return &refusal{
			status: http.StatusForbidden, code: "model_unknown",
			text: "the client may use some models only, and the request's isn't in the beginning of its body: put it first, uncompressed",
		}
	}
	if !fitsAny(c.Models, model) {
		return &refusal{
			status: http.StatusForbidden, code: "model_not_allowed",
			text: "the client may not use this model: use another, or ask for it",
		}
	}
	return nil
}

// enter puts a call in the client's queue, from which leave takes it.
func (c *client) enter() (leave func(), _ *refusal) {
	if n := c.waiting.Add(1); c.MaxWaiting > 0 && n > int64(c.MaxWaiting) {
		c.waiting.Add(-1)
		return nil, &refusal{
			status: http.StatusTooManyRequests, code: "queue_full", retryAfter: time.Second,
			text: fmt.Sprintf("%d requests of the client are waiting already: send fewer at once", c.MaxWaiting),
		}
	}
	return func() { c.waiting.Add(-1) }, nil
}
