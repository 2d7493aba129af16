package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// maxLimitsBody bounds a page of the Rate Limits API, and maxLimitsPages the number of pages that are read.
const maxLimitsBody, maxLimitsPages = 4 << 20, 100

// AnthropicLimitsConfig says how AnthropicLimits asks.
type AnthropicLimitsConfig struct {
	// AdminKey is an Admin API key (sk-ant-admin…). Required. The keys of calls can't read limits.
	AdminKey caller.Secret
	// Workspace is the ID of the workspace whose limits take the place of the organization's. Defaults to none: the
	// organization's limits.
	Workspace string
	// BaseURL is where the API begins. Defaults to https://api.anthropic.com.
	BaseURL string
	// Client sends the requests. Defaults to http.DefaultClient.
	Client *http.Client
}

// AnthropicLimits reads the limits of an organization, or of one of its workspaces, from Anthropic's Rate Limits API, for
// Config.Limits or Account.Limits. Each group of models has a limit of requests, input tokens and output tokens per minute, as
// far as the API names one, with the algorithm that Anthropic documents: a bucket that refills continuously. Limits of batches,
// files and other resources are left out. The limits are those at the time of the call; a process that is to follow changes
// calls it again. An error leaves out the key.
func AnthropicLimits(ctx context.Context, cfg AnthropicLimitsConfig) ([]caller.Limit, error) {
	if cfg.AdminKey.IsZero() {
		return nil, errors.New("provider: AnthropicLimits needs an AdminKey: create one in the Claude Console")
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = "https://api.anthropic.com"
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	groups, err := cfg.read(ctx, "/v1/organizations/rate_limits")
	if err != nil {
		return nil, err
	}
	if cfg.Workspace != "" {
		own, err := cfg.read(ctx, "/v1/organizations/workspaces/"+url.PathEscape(cfg.Workspace)+"/rate_limits")
		if err != nil {
			return nil, err
		}
		for _, g := range own {
			groups = g.override(groups)
		}
	}
	var limits []caller.Limit
	for _, g := range groups {
		limits = append(limits, g.callerLimits()...)
	}
	if len(limits) == 0 {
		return nil, errors.New("provider: the Rate Limits API names no limit of a model: type the limits")
	}
	return limits, nil
}

// rateLimitGroup is an entry of the Rate Limits API.
type rateLimitGroup struct {
	Type   string      `json:"group_type"`
	Models []string    `json:"models"`
	Limits []rateLimit `json:"limits"`
}

type rateLimit struct {
	Type  string `json:"type"`
	Value int64  `json:"value"`
}

// read returns the groups of models of all pages.
func (c *AnthropicLimitsConfig) read(ctx context.Context, path string) ([]rateLimitGroup, error) {
	var all []rateLimitGroup
	query := url.Values{"group_type": {"model_group"}}
	for range maxLimitsPages {
		var page struct {
			Data []rateLimitGroup `json:"data"`
			Next string           `json:"next_page"` // or null
		}
		if err := c.get(ctx, c.BaseURL+path+"?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		for _, g := range page.Data {
			if g.Type == "model_group" && len(g.Models) > 0 {
				all = append(all, g)
			}
		}
		if page.Next == "" {
			return all, nil
		}
		query.Set("page", page.Next)
	}
	return nil, fmt.Errorf("provider: the Rate Limits API has more than %d pages", maxLimitsPages)
}

func (c *AnthropicLimitsConfig) get(ctx context.Context, address string, page any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("provider: the BaseURL of AnthropicLimits: %w", err)
	}
	req.Header.Set("X-Api-Key", c.AdminKey.Reveal())
	req.Header.Set("Anthropic-Version", "2023-06-01")
	res, err := c.Client.Do(req)
	if err != nil {
		return fmt.Errorf("provider: read Anthropic's limits: %w", err)
	}
	if err := caller.CheckResponse(res); err != nil {
		return fmt.Errorf("provider: read Anthropic's limits, with an Admin key of the organization: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxLimitsBody))
	if err != nil {
		return fmt.Errorf("provider: read Anthropic's limits: %w", err)
	}
	if err := json.Unmarshal(text, page); err != nil {
		return fmt.Errorf("provider: read Anthropic's limits: %w", err)
	}
	return nil
}

// override puts a workspace's limits in the place of the organization's for the same models. What the workspace doesn't name
// it has from the organization.
func (g rateLimitGroup) override(groups []rateLimitGroup) []rateLimitGroup {
	at := slices.IndexFunc(groups, func(o rateLimitGroup) bool {
		return slices.ContainsFunc(o.Models, func(m string) bool { return slices.Contains(g.Models, m) })
	})
	if at < 0 {
		return append(groups, g)
	}
	for _, l := range g.Limits {
		its := groups[at].Limits
		if i := slices.IndexFunc(its, func(o rateLimit) bool { return o.Type == l.Type }); i >= 0 {
			its[i].Value = l.Value
			continue
		}
		groups[at].Limits = append(groups[at].Limits, l)
	}
	return groups
}

// callerLimits returns the limits that the pool can keep.
func (g rateLimitGroup) callerLimits() []caller.Limit {
	metrics := map[string]caller.Metric{
		"requests_per_minute": caller.Requests, "input_tokens_per_minute": caller.InputTokens,
		"output_tokens_per_minute": caller.OutputTokens,
	}
	var out []caller.Limit
	for _, l := range g.Limits {
		if m, ok := metrics[l.Type]; ok && l.Value > 0 {
			out = append(out, caller.Limit{
				Metric: m, Rate: l.Value, Period: time.Minute, Algorithm: caller.Bucket, Models: slices.Clone(g.Models),
			})
		}
	}
	return out
}
