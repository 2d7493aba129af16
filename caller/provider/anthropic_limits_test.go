package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
)

const organizationLimits = `{"data":[
	{"type":"rate_limit","group_type":"model_group","models":["claude-a","claude-a-1"],"limits":[
		{"type":"requests_per_minute","value":4000},{"type":"input_tokens_per_minute","value":10000000},
		{"type":"output_tokens_per_minute","value":800000},{"type":"something_new","value":3}]},
	{"type":"rate_limit","group_type":"batch","models":null,"limits":[{"type":"enqueued_batch_requests","value":500000}]}],
	"next_page":"2"}`

const organizationLimits2 = `{"data":[{"type":"rate_limit","group_type":"model_group","models":["claude-b"],
	"limits":[{"type":"requests_per_minute","value":50}]}],"next_page":null}`

const workspaceLimits = `{"data":[{"type":"workspace_rate_limit","group_type":"model_group","models":["claude-a","claude-a-1"],
	"limits":[{"type":"requests_per_minute","value":1000,"org_limit":4000}]}],"next_page":null}`

// rateLimitsAPI is Anthropic's Rate Limits API with two pages and a workspace.
func rateLimitsAPI(t *testing.T) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("X-Api-Key") != "sk-ant-admin-secret" || r.Header.Get("Anthropic-Version") == "":
			http.Error(w, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, http.StatusUnauthorized)
		case q.Get("group_type") != "model_group":
			http.Error(w, "{}", http.StatusBadRequest)
		case r.URL.Path == "/v1/organizations/workspaces/wrkspc_1/rate_limits":
			_, _ = io.WriteString(w, workspaceLimits)
		case r.URL.Path != "/v1/organizations/rate_limits":
			http.NotFound(w, r)
		case q.Get("page") == "2":
			_, _ = io.WriteString(w, organizationLimits2)
		default:
			_, _ = io.WriteString(w, organizationLimits)
		}
	}))
	t.Cleanup(api.Close)
	return api.URL
}

// The limits are those of all groups of models and pages; a workspace's take the place of the organization's.
func TestAnthropicLimits_ReadsGroupsOfModels(t *testing.T) {
	t.Parallel()
	a, b := []string{"claude-a", "claude-a-1"}, []string{"claude-b"}
	limit := func(m caller.Metric, rate int64, models []string) caller.Limit {
		return caller.Limit{Metric: m, Rate: rate, Period: time.Minute, Algorithm: caller.Bucket, Models: models}
	}
	for workspace, requests := range map[string]int64{"": 4000, "wrkspc_1": 1000} {
		got, err := provider.AnthropicLimits(t.Context(), provider.AnthropicLimitsConfig{
			AdminKey: caller.NewSecret("sk-ant-admin-secret"), Workspace: workspace, BaseURL: rateLimitsAPI(t),
		})
		want := []caller.Limit{
			limit(caller.Requests, requests, a), limit(caller.InputTokens, 10_000_000, a), limit(caller.OutputTokens, 800_000, a),
			limit(caller.Requests, 50, b),
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("workspace %q: got %+v and error %v, want %+v", workspace, got, err, want)
		}
	}
}

// An error says what to do, and leaves out the key.
func TestAnthropicLimits_SaysWhatFailed(t *testing.T) {
	t.Parallel()
	url := rateLimitsAPI(t)
	for _, test := range []struct {
		cfg  provider.AnthropicLimitsConfig
		want string
	}{
		{provider.AnthropicLimitsConfig{BaseURL: url}, "needs an AdminKey"},
		{provider.AnthropicLimitsConfig{BaseURL: url, AdminKey: caller.NewSecret("sk-ant-api-wrong")}, "401"},
		{provider.AnthropicLimitsConfig{BaseURL: url, AdminKey: caller.NewSecret("sk-ant-admin-secret"), Workspace: "other"}, "404"},
		{provider.AnthropicLimitsConfig{BaseURL: "http://127.0.0.1:1", AdminKey: caller.NewSecret("sk-ant-admin-secret")}, "refused"},
	} {
		got, err := provider.AnthropicLimits(t.Context(), test.cfg)
		if err == nil || got != nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "sk-ant") {
			t.Errorf("got %v and error %v, want one with %q and without the key", got, err, test.want)
		}
	}
}
