package config

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/redis/go-redis/v9"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/concurrency"
	"github.com/penstock/penstock/retry"
)

var update = flag.Bool("update", false, "write penstock.schema.json")

// The schema file agrees with the reader's fields. Run with -update to write it.
func TestSchema_AgreesWithTheReader(t *testing.T) {
	want, err := writeSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("penstock.schema.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("got another schema than penstock.schema.json; run go test ./caller/config -run TestSchema_AgreesWithTheReader -update")
	}
}

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("penstock.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("penstock.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks a file by the schema.
func validate(t testing.TB, s *jsonschema.Schema, src string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func anything(string) (string, bool) { return "value", true }

// documented returns the example in the package's comment.
func documented(t *testing.T) string {
	t.Helper()
	src, err := os.ReadFile("config.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(src)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			b.WriteString(code)
		}
	}
	return b.String()
}

const minimal = "name: p\nbase_url: https://h\nkeys: [{id: k, secret: \"${K}\"}]\n"

// A file that Parse accepts is valid by the schema, and caller.New accepts it.
func TestSchema_AcceptsWhatParseAccepts(t *testing.T) {
	sample, err := os.ReadFile("../../examples/batch/pool.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t)
	for name, src := range map[string]string{
		"the sample":     string(sample),
		"the comment":    documented(t),
		"the least":      minimal,
		"numbers":        "name: 1\nbase_url: ${U}\nkeys: [{id: 007, secret: 1.50, account: true}]\n",
		"capitals":       minimal + "provider: OpenAI\n",
		"quoted numbers": minimal + "concurrency: \"1_0\"\nretry: {attempts: \"+3\", multiplier: \"1.5\"}\ntransport: {error_responses: \"false\"}\n",
		"octal":          minimal + "concurrency: 010\n",
		"times":          minimal + "tuning: {arrival_jitter: 1.5ms, session_ttl: 1m30s, horizon: \"+.5s\"}\n",
		"anchors":        "x-a: &a {period: 1s}\ndefaults: &d {algorithm: bucket}\n" + minimal + "limits: [{<<: [*a, *d], metric: requests, rate: 50}]\n",
		"a query":        "name: p\nbase_url: https://h/x?api-version=1\nkeys: [{id: k, secret: s}]\n",
		"no limits":      minimal + "limits: []\n",
		"a day":          minimal + "limits: [{metric: chars, rate: 9, algorithm: daily, period: 1440m, reset_at: 23:59:59}]\n",
		"keys' models": minimal + "provider: openai\nlimits:\n- {metric: tokens, rate: 900, period: 1s, scope: key, models: [\"*\"]}\n" +
			"- {metric: tokens, rate: 900, period: 1s, scope: pool, models: [\"*\"]}\n- {metric: tokens, rate: 900, period: 1s, models: [a, b]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			lookup := func(name string) (string, bool) {
				return map[string]string{"U": "http://u"}[name] + "value-of-" + name, true
			}
			p, err := Parse("f", []byte(src), lookup)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, s, src); err != nil {
				t.Error(err)
			}
			taken(t, p)
		})
	}
}

// taken checks that caller.New accepts the pool. It sends nothing to Redis.
func taken(t *testing.T, p *Pool) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	c, err := caller.New(rdb, p.Caller)
	if err != nil {
		t.Fatalf("got %v from caller.New for what Parse accepts, want nil", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// The schema and Parse refuse the same simple mistakes.
func TestSchema_RefusesMistakes(t *testing.T) {
	s := compile(t)
	for name, src := range map[string]string{
		"no keys":             "name: p\nbase_url: https://h\n",
		"an unknown field":    minimal + "retries: 1\n",
		"in a key":            "name: p\nbase_url: https://h\nkeys: [{id: k, secret: s, acount: a}]\n",
		"a key without":       "name: p\nbase_url: https://h\nkeys: [{id: k}]\n",
		"a choice":            minimal + "strategy: random\n",
		"a time":              minimal + "tuning: {horizon: 5}\n",
		"a count":             minimal + "concurrency: 0\n",
		"a URL":               "name: p\nbase_url: h\nkeys: [{id: k, secret: s}]\n",
		"no period":           minimal + "limits: [{metric: requests, rate: 5}]\n",
		"a reset of a window": minimal + "limits: [{metric: requests, rate: 5, period: 1s, reset_at: \"00:00\"}]\n",
		"a burst of a day":    minimal + "limits: [{metric: requests, rate: 5, algorithm: daily, burst: 2}]\n",
		"a time of day":       minimal + "limits: [{metric: requests, rate: 5, algorithm: daily, reset_at: \"7:30\"}]\n",
		"a budget":            minimal + "retry: {budget: {share: 2, per_second: 1}}\n",
	} {
		if err := validate(t, s, src); err == nil {
			t.Errorf("%s: got no error from the schema, want one", name)
		}
		if _, err := Parse("f", []byte(src), anything); err == nil {
			t.Errorf("%s: got no error from Parse, want one", name)
		}
	}
}

var capital = regexp.MustCompile(`[a-z][A-Z]`)

// fieldsOf returns the names of a struct's fields as a file would have them.
func fieldsOf[T any](elsewhere ...string) []string {
	var names []string
	for f := range reflect.TypeFor[T]().Fields() {
		if !slices.Contains(elsewhere, f.Name) {
			name := capital.ReplaceAllStringFunc(f.Name, func(s string) string { return s[:1] + "_" + s[1:] })
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

// Every field of the configuration is in the file, or is listed here as one that only a program can set.
func TestParse_KnowsEveryFieldOfConfig(t *testing.T) {
	r := &reader{}
	var d draft
	example := documented(t)
	for _, c := range []struct {
		table map[string]field
		want  []string
	}{
		{r.poolFields(&d), append(fieldsOf[caller.Config]("Profile", "Hooks"), "base_url", "provider", "transport")},
		{r.tuningFields(new(caller.Tuning), new(int64)), fieldsOf[caller.Tuning]()},
		{r.transportFields(new(caller.TransportConfig)), fieldsOf[caller.TransportConfig]()},
		{r.adaptiveFields(new(adaptiveDraft)), fieldsOf[concurrency.Adaptive]()},
		{r.keyFields(new(keyDraft)), fieldsOf[caller.Key]("Authorize")},
		{r.accountFields(new(accountDraft)), fieldsOf[caller.Account]()},
		{r.limitFields(new(limitDraft)), append(fieldsOf[caller.Limit]("Location"), "time_zone")},
		{r.breakerFields(new(int64), new(time.Duration)), fieldsOf[caller.Breaker]()},
		{r.hedgeFields(new(caller.Hedge)), fieldsOf[caller.Hedge]()},
		{r.retryFields(new(retryDraft)), fieldsOf[retry.Policy]("Retryable", "Hooks")},
	} {
		for _, name := range c.want {
			if _, ok := c.table[name]; !ok {
				t.Errorf("got no field %s in the file, want one", name)
			}
		}
		for name := range c.table {
			if !slices.Contains(c.want, name) {
				t.Errorf("got the field %s in the file, want only those of the configuration", name)
			}
			if !strings.Contains(example, name+":") {
				t.Errorf("got no %s in the package's comment, want every field", name)
			}
		}
	}
}

// A name within two letters of a common metric is a mistake.
func TestMeant_FindsTheCommonMetric(t *testing.T) {
	for name, want := range map[string]caller.Metric{
		"request": caller.Requests, "Requests": caller.Requests, "reqests": caller.Requests, "token": caller.Tokens,
		"input-tokens": caller.InputTokens, "ouput_token": caller.OutputTokens, "micro_dollar": caller.MicroDollars,
		"requests": "", "tokens": "", "images": "", "input_chars": "", "audio_tokens": "", "gpu.seconds": "", "x": "",
	} {
		if got, _ := meant(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
