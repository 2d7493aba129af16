package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/caller/gateway"
)

// settings are a configuration file's.
type settings struct {
	pools   []*config.Pool
	gateway gateway.Config
}

// own are the parts of the file that package config doesn't read.
type own struct {
	Routes []struct {
		Path   string   `yaml:"path"`
		Strip  bool     `yaml:"strip"`
		Models []string `yaml:"models"`
		Pool   string   `yaml:"pool"`
	} `yaml:"routes"`
	Clients []ownClient `yaml:"clients"`
	Prices  []struct {
		Models []string `yaml:"models"`
		Input  float64  `yaml:"input"`
		Output float64  `yaml:"output"`
	} `yaml:"prices"`
	Gateway struct {
		Buffer     int64         `yaml:"buffer"`
		MaxBody    int64         `yaml:"max_body"`
		MaxWait    time.Duration `yaml:"max_wait"`
		ClientIdle time.Duration `yaml:"client_idle"`
		MinRate    int64         `yaml:"min_rate"`
		Name       string        `yaml:"name"`
		KeepDays   int           `yaml:"keep_days"`
	} `yaml:"gateway"`
}

// sections are the names of the fields of own.
var sections = map[string]bool{"routes": true, "clients": true, "prices": true, "gateway": true}

var (
	topField = regexp.MustCompile(`^([a-z_]+):`)
	item     = regexp.MustCompile(`^( *)- `)
)

// readFile reads a configuration. Its errors show no value, because that can be a secret.
func readFile(file string, src []byte, lookup func(string) (string, bool)) (*settings, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	var ours, rest, pools []string // lines, the others of which are empty, so that positions stay
	section := ""
	for line := range strings.SplitSeq(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n") {
		if m := topField.FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		lines := [3]string{}
		switch {
		case sections[section]:
			lines[0] = line
		case section == "pools":
			lines[2] = line
		default:
			lines[1] = line
		}
		ours, rest, pools = append(ours, lines[0]), append(rest, lines[1]), append(pools, lines[2])
	}
	s := new(settings)
	sources := [][]string{rest}
	if blank(rest) {
		var err error
		if sources, err = poolSources(file, pools); err != nil {
			return nil, err
		}
	} else if !blank(pools) {
		return nil, errors.New(file + ": has both pools and the fields of one pool; move these into an item of pools")
	}
	for _, lines := range sources {
		pool, err := config.Parse(file, []byte(strings.Join(lines, "\n")), lookup)
		if err != nil {
			return nil, err
		}
		s.pools = append(s.pools, pool)
	}
	if len(s.pools) == 0 {
		return nil, errors.New(file + ": has no pool; write each as an item of pools, on lines of its own, as in examples/gateway/gateway.yaml")
	}
	return s, s.readOwn(file, strings.Join(ours, "\n"), lookup)
}

func blank(lines []string) bool {
	for _, line := range lines {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "#") && text != "---" {
			return false
		}
	}
	return true
}

// poolSources returns the lines of each pool. A list in flow style, such as [{name: a, …}], has no lines of its own for each
// item, so its items are written anew.
func poolSources(file string, lines []string) ([][]string, error) {
	head, body := slices.Clone(lines), slices.Clone(lines)
	for i, line := range lines {
		if m := topField.FindString(line); m != "" {
			body[i] = ""
			if blank([]string{line[len(m):]}) && !strings.HasPrefix(firstText(lines[i+1:]), "[") {
				return items(body), nil
			}
			break
		}
	}
	var o struct {
		Pools []yaml.MapSlice `yaml:"pools"`
	}
	if err := yaml.Unmarshal([]byte(strings.Join(head, "\n")), &o); err != nil {
		return nil, fmt.Errorf("%s: %s", file, describe(err))
	}
	var all [][]string
	for _, pool := range o.Pools {
		text, err := yaml.Marshal(pool)
		if err != nil {
			return nil, fmt.Errorf("%s: pools: not valid YAML", file)
		}
		all = append(all, strings.Split(string(text), "\n"))
	}
	return all, nil
}

// firstText returns the first line that is neither blank nor a comment.
func firstText(lines []string) string {
	for _, line := range lines {
		if !blank([]string{line}) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// items returns the lines of each item of a list of mappings, with the others empty and without the dash.
func items(lines []string) [][]string {
	var all [][]string
	indent := -1
	for i, line := range lines {
		m := item.FindStringSubmatch(line)
		if m != nil && (indent < 0 || len(m[1]) == indent) {
			indent = len(m[1])
			all = append(all, make([]string, len(lines)))
			line = m[1] + "  " + line[len(m[0]):]
		}
		if len(all) > 0 {
			all[len(all)-1][i] = line
		}
	}
	return all
}

func (s *settings) readOwn(file, src string, lookup func(string) (string, bool)) error {
	var o own
	if strings.TrimSpace(src) != "" {
		if err := yaml.UnmarshalWithOptions([]byte(src), &o, yaml.Strict()); err != nil && err.Error() != "EOF" {
			return fmt.Errorf("%s: %s", file, describe(err))
		}
	}
	c := &s.gateway
	c.Buffer, c.MaxBody, c.MinRate = o.Gateway.Buffer, o.Gateway.MaxBody, o.Gateway.MinRate
	c.MaxWait, c.ClientIdle = o.Gateway.MaxWait, o.Gateway.ClientIdle
	c.Name, c.KeepDays = o.Gateway.Name, o.Gateway.KeepDays
	for _, p := range o.Prices {
		c.Prices = append(c.Prices, gateway.Price{Models: p.Models, Input: p.Input, Output: p.Output})
	}
	for _, r := range o.Routes {
		c.Routes = append(c.Routes, gateway.Route{Path: r.Path, Strip: r.Strip, Models: r.Models, Pool: cmp.Or(r.Pool, s.pools[0].Caller.Name)})
	}
	for i := range o.Clients {
		client, err := o.Clients[i].read(lookup)
		if err != nil {
			return fmt.Errorf("%s: clients[%d]: %w", file, i, err)
		}
		c.Clients = append(c.Clients, client)
	}
	return s.share(file)
}

// share makes the clients tenants of the pools if one of them has a share.
func (s *settings) share(file string) error {
	tenants := gateway.Tenants(s.gateway.Clients)
	if tenants == nil {
		return nil
	}
	for _, p := range s.pools {
		if len(p.Caller.Tenants) > 0 {
			return fmt.Errorf("%s: pool %s has tenants, and clients have shares: write the clients' names as tenants, or leave the tenants out",
				file, p.Caller.Name)
		}
		p.Caller.Tenants = tenants
	}
	return nil
}

// describe returns a YAML error without what it quotes of the file.
func describe(err error) string {
	if y, ok := errors.AsType[yaml.Error](err); ok && y.GetToken() != nil {
		at := y.GetToken().Position
		msg := regexp.MustCompile(`"[^"]*"`).ReplaceAllStringFunc(y.GetMessage(), func(q string) string {
			if regexp.MustCompile(`^"[a-z_]+"$`).MatchString(q) {
				return q
			}
			return `"…"`
		})
		return fmt.Sprintf("line %d, column %d: %s", at.Line, at.Column, msg)
	}
	return "not valid YAML in routes, clients, prices or gateway"
}

// ownClient is a client in the file. Its tokens stand there as hashes, or come from the environment or a file.
type ownClient struct {
	Name       string   `yaml:"name"`
	Token      string   `yaml:"token"`      // ${NAME}
	TokenFile  string   `yaml:"token_file"` // a token a line
	SHA256     []string `yaml:"token_sha256"`
	Priority   string   `yaml:"priority"`
	Models     []string `yaml:"models"`
	MaxWaiting int      `yaml:"max_waiting"`
	PerMinute  ownCaps  `yaml:"per_minute"`
	PerDay     ownCaps  `yaml:"per_day"`
	Share      float64  `yaml:"share"`
	Guaranteed float64  `yaml:"guaranteed"`
}

// ownCaps are a client's caps in the file.
type ownCaps struct {
	Requests     int64 `yaml:"requests"`
	Tokens       int64 `yaml:"tokens"`
	Microdollars int64 `yaml:"microdollars"`
}

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

func (o *ownClient) read(lookup func(string) (string, bool)) (gateway.Client, error) {
	c := gateway.Client{
		Name: o.Name, Models: o.Models, MaxWaiting: o.MaxWaiting,
		PerMinute: gateway.Caps(o.PerMinute), PerDay: gateway.Caps(o.PerDay),
		Share: o.Share, Guaranteed: o.Guaranteed,
	}
	var tokens []string
	if o.Token != "" {
		m := variable.FindStringSubmatch(o.Token)
		if m == nil {
			return c, errors.New("token is a token itself: write ${NAME} for an environment variable, or token_sha256")
		}
		value, ok := lookup(m[1])
		if !ok {
			return c, fmt.Errorf("token: the environment variable %s isn't set; set it", m[1])
		}
		tokens = append(tokens, value)
	}
	if o.TokenFile != "" {
		text, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return c, fmt.Errorf("token_file: %w", err)
		}
		tokens = append(tokens, strings.Fields(string(text))...)
	}
	for _, token := range tokens {
		hash, err := gateway.HashToken(token)
		if err != nil {
			return c, err
		}
		c.Tokens = append(c.Tokens, hash)
	}
	for _, text := range o.SHA256 {
		hash, err := gateway.ParseTokenHash(strings.TrimPrefix(text, "sha256:"))
		if err != nil {
			return c, fmt.Errorf("token_sha256: %w", err)
		}
		c.Tokens = append(c.Tokens, hash)
	}
	switch o.Priority {
	case "", "normal":
	case "low":
		c.Ceiling = caller.PriorityLow
	case "high":
		c.Ceiling = caller.PriorityHigh
	default:
		return c, errors.New("priority must be low, normal or high")
	}
	return c, nil
}
