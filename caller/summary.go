package caller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/caller/internal/history"
	"github.com/penstock/penstock/scripts"
)

const (
	// summaryEvery is the time between two summaries of a process. One that has nothing new to say writes every idleFactor
	// times as long.
	summaryEvery = 10 * time.Second
	idleFactor   = 6
	// ordersEvery is the time between two readings of what operators have disabled, while the process makes calls.
	ordersEvery = time.Second
	// firstSummary is the time from the first call to the first summary.
	firstSummary = time.Second
	// lastSummary is the longest time that Close waits for the last summary.
	lastSummary = 500 * time.Millisecond
	// summaryKept is the time for which Redis keeps a summary: as long as the history that it holds.
	summaryKept = history.Slots * history.SlotLength
)

// summary is what a process reports of itself to people who look at the pool.
type summary struct {
	Started  int64          `json:"started"` // of its first call, in Unix milliseconds
	At       int64          `json:"at"`      // 0 until it is written
	InFlight int            `json:"in_flight"`
	Waiting  []summaryWait  `json:"waiting,omitempty"`
	Used     []summaryUse   `json:"used,omitempty"` // in the last minute
	Slots    []history.Slot `json:"slots,omitempty"`
	Failure  string         `json:"failure,omitempty"`
	Limits   int64          `json:"limits,omitempty"` // version that the process follows

	name   string
	age    time.Duration
	digest string
}

type summaryWait struct {
	Priority int    `json:"priority"`
	Calls    int    `json:"calls"`
	For      string `json:"for,omitempty"`
	Until    int64  `json:"until,omitempty"`   // from now, in milliseconds
	Longest  int64  `json:"longest,omitempty"` // milliseconds
}

type summaryUse struct {
	Limit   string `json:"limit"`
	Account string `json:"account,omitempty"`
	Key     string `json:"key,omitempty"`
	Units   int64  `json:"units"`
}

// replica returns what the summary says of its process.
func (s *summary) replica() Replica {
	r := Replica{
		Name: s.name, Seen: s.age, Uptime: time.Duration(s.At-s.Started) * time.Millisecond, InFlight: s.InFlight, RedisError: s.Failure,
		LimitsVersion: s.Limits,
	}
	for _, w := range s.Waiting {
		r.Waiting = append(r.Waiting, Waiting{
			Priority: Priority(w.Priority), Calls: w.Calls, For: w.For, Until: time.Duration(w.Until) * time.Millisecond,
			Longest: time.Duration(w.Longest) * time.Millisecond,
		})
	}
	return r
}

// summarizer writes a process's summaries from the first call until Close.
type summarizer struct {
	once  sync.Once
	mu    sync.Mutex
	ended bool
	stop  context.CancelFunc
	done  chan struct{}
}

// start begins to write summaries, once.
func (s *summarizer) start(c *Pool) {
	s.once.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.stop, s.done = cancel, make(chan struct{})
		go func() {
			defer close(s.done)
			c.summarize(ctx)
		}()
	})
}

// end writes a last summary and stops. It waits for that no longer than lastSummary, and until ctx ends.
func (s *summarizer) end(ctx context.Context) {
	s.mu.Lock()
	s.ended = true
	stop, done := s.stop, s.done
	s.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	ctx, cancel := context.WithTimeout(ctx, lastSummary)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// summarize writes summaries until ctx ends. A failure changes nothing but what people see.
func (c *Pool) summarize(ctx context.Context) {
	var last string
	var written time.Time
	timer := time.NewTimer(firstSummary)
	defer timer.Stop()
	orders := time.NewTicker(ordersEvery)
	defer orders.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-timer.C:
			timer.Reset(summaryEvery)
		case <-orders.C:
			c.learnOrders(ctx)
			continue
		}
		now := time.Now()
		s := c.summary(now)
		if ended && s.Failure != "" {
			return // Redis is away
		}
		text := toJSON(s)
		if ended || text != last || now.Sub(written) >= idleFactor*summaryEvery {
			last, written = text, now
			c.write(context.WithoutCancel(ctx), s, now)
		}
	}
}

// learnOrders reads what operators have disabled. If it fails, it is done again.
func (c *Pool) learnOrders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ordersEvery)
	defer cancel()
	_ = c.admission.LearnOrders(ctx)
}

// write stores a summary, and the configuration if it is missing.
func (c *Pool) write(ctx context.Context, s *summary, now time.Time) {
	config, digest := c.settings.published(c.admission.Accounts())
	s.At = now.UnixMilli()
	out := scripts.PoolSummary{Session: c.settings.Tuning.SessionName, Digest: digest, Text: toJSON(s)}
	missing, err := scripts.WritePoolSummary(ctx, c.redis, c.settings.Name, out, "", summaryKept)
	if err == nil && missing {
		_, _ = scripts.WritePoolSummary(ctx, c.redis, c.settings.Name, out, config, summaryKept)
	}
}

// summary returns what this process did lately.
func (c *Pool) summary(now time.Time) *summary {
	its := c.admission.Stats()
	s := &summary{InFlight: its.InFlight, Limits: its.LimitsVersion, Slots: c.stats.history.Read(now)}
	if since := c.stats.since.Load(); since != nil {
		s.Started = since.UnixMilli()
	}
	if its.Failure != nil {
		s.Failure = its.Failure.Error()
	}
	for i, w := range slices.Backward(its.Waits[:]) {
		if w.Calls > 0 {
			out := summaryWait{
				Priority: i + int(PriorityLow), Calls: w.Calls, For: c.settings.waitName(w.Constraint), Longest: now.Sub(w.Since).Milliseconds(),
			}
			if !w.Until.IsZero() {
				out.Until = max(1, w.Until.Sub(now).Milliseconds())
			}
			s.Waiting = append(s.Waiting, out)
		}
	}
	for _, u := range its.Used {
		s.Used = append(s.Used, summaryUse{Limit: c.settings.Limits[u.Limit].id(), Account: u.Account, Key: u.Key, Units: u.Units})
	}
	return s
}

// waitName returns the name of what calls wait for; empty: it isn't known.
func (p *settings) waitName(constraint int) string {
	if constraint < admission.ConstraintCooldown || constraint >= len(p.Limits) {
		return ""
	}
	return p.constraintName(constraint)
}

// publishedConfig is the part of a configuration that processes of a pool must have in common, and that an operator needs.
type publishedConfig struct {
	Keys          []publishedKey     `json:"keys"`
	Limits        []publishedLimit   `json:"limits,omitempty"`
	Accounts      []publishedAccount `json:"accounts,omitempty"`
	Concurrency   int                `json:"concurrency,omitempty"`
	Strategy      Strategy           `json:"strategy"`
	ArrivalJitter time.Duration      `json:"arrival_jitter"`
	SessionTTL    time.Duration      `json:"session_ttl"`
}

type publishedKey struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Weight  int    `json:"weight"`
	// Secret is the fingerprint of the key's secret, which tells secrets apart without showing them.
	Secret string `json:"secret"`
}

// publishedAccount is what limits an account, without its place.
type publishedAccount struct {
	ID          string            `json:"id"`
	Models      map[string]string `json:"models,omitempty"`
	Concurrency int               `json:"concurrency,omitempty"`
	Weight      int               `json:"weight,omitempty"`
}

// publishedLimit is a Limit in JSON.
type publishedLimit struct {
	Limit
	Account  string `json:",omitempty"` // that alone has the limit
	Location string `json:",omitempty"`
}

// published returns what the process's configuration has in common with the others', and its digest. It has no secrets.
func (p *settings) published(accounts []admission.Account) (text, digest string) {
	out := publishedConfig{
		Concurrency: p.Concurrency, Strategy: p.Strategy, ArrivalJitter: p.Tuning.ArrivalJitter, SessionTTL: p.Tuning.SessionTTL,
	}
	for _, a := range accounts {
		for _, k := range a.Keys {
			out.Keys = append(out.Keys, publishedKey{admission.WithoutFingerprint(k.ID), a.ID, k.Weight, admission.Fingerprint(k.ID)})
		}
	}
	for i := range p.Accounts {
		a := &p.Accounts[i]
		out.Accounts = append(out.Accounts, publishedAccount{a.ID, a.Models, a.Concurrency, a.Weight})
	}
	for i, l := range p.Limits {
		zone := l.Location.String()
		l.Location = nil
		out.Limits = append(out.Limits, publishedLimit{l, p.owners[i], zone})
	}
	text = toJSON(out)
	sum := sha256.Sum256([]byte(text))
	return text, hex.EncodeToString(sum[:8])
}

// config returns the Config of a pool that has the published configuration, without secrets.
func (p *publishedConfig) config(name string) (Config, error) {
	cfg := Config{Name: name, Concurrency: p.Concurrency, Strategy: p.Strategy}
	cfg.Tuning.ArrivalJitter, cfg.Tuning.SessionTTL = p.ArrivalJitter, p.SessionTTL
	for i, k := range p.Keys {
		cfg.Keys = append(cfg.Keys, Key{
			ID: k.ID, Account: k.Account, Weight: k.Weight, Secret: secretWith(cmp.Or(k.Secret, fmt.Sprintf("%016x", i))),
		})
	}
	for _, a := range p.Accounts {
		cfg.Accounts = append(cfg.Accounts, Account{ID: a.ID, Models: a.Models, Concurrency: a.Concurrency, Weight: a.Weight})
	}
	for _, l := range p.Limits {
		its := l.Limit
		zone, err := time.LoadLocation(l.Location)
		if err != nil {
			return cfg, fmt.Errorf("the time zone of a daily limit: %w", err)
		}
		its.Location = zone
		owner := slices.IndexFunc(cfg.Accounts, func(a Account) bool { return a.ID == l.Account })
		if owner < 0 {
			cfg.Limits = append(cfg.Limits, its)
			continue
		}
		cfg.Accounts[owner].Limits = append(cfg.Accounts[owner].Limits, its)
	}
	return cfg, nil
}

// differences names what differs between two published configurations.
func differences(usual, its string) []string {
	var a, b publishedConfig
	if json.Unmarshal([]byte(usual), &a) != nil || json.Unmarshal([]byte(its), &b) != nil {
		return []string{"configuration"}
	}
	var out []string
	for _, d := range []struct {
		name string
		same bool
	}{
		{"keys", slices.Equal(a.Keys, b.Keys)},
		{"limits", equalJSON(a.Limits, b.Limits)},
		{"accounts", equalJSON(a.Accounts, b.Accounts)},
		{"concurrency", a.Concurrency == b.Concurrency},
		{"strategy", a.Strategy == b.Strategy},
		{"arrival_jitter", a.ArrivalJitter == b.ArrivalJitter},
		{"session_ttl", a.SessionTTL == b.SessionTTL},
	} {
		if !d.same {
			out = append(out, d.name)
		}
	}
	return out
}

func equalJSON(a, b any) bool { return toJSON(a) == toJSON(b) }

// toJSON returns a value that has a form in JSON.
func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "" // a number that isn't finite
	}
	return string(text)
}
