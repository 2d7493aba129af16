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
	"github.com/penstock/penstock/retry"
)

var update = flag.Bool("update", false, "write penstock.schema.json anew")

// The schema for editors is the reader's own tables, field by field.
func TestTheSchemaIsTheReaders(t *testing.T) {
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
		t.Error("penstock.schema.json isn't what the reader takes: go test ./caller/config -run TestTheSchemaIsTheReaders -update")
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

// validate says what the schema makes of a file.
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

const minimal = "pool: p\nbase_url: https://h\nkeys: [{id: k, secret: \"${K}\"}]\n"

// What Parse takes, the schema takes, and so does caller.New.
func TestTheSchemaTakesWhatParseTakes(t *testing.T) {
	sample, err := os.ReadFile("../../examples/batch/pool.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t)
	for name, src := range map[string]string{
		"the sample":     string(sample),
		"the comment":    documented(t),
		"the least":      minimal,
		"numbers":        "pool: 1\nbase_url: ${U}\nkeys: [{id: 007, secret: 1.50, account: true}]\n",
		"capitals":       minimal + "provider: OpenAI\n",
		"quoted numbers": minimal + "concurrency: \"1_0\"\nretry: {attempts: \"+3\", multiplier: \"1.5\"}\nplain_errors: \"false\"\n",
		"octal":          minimal + "concurrency: 010\n",
		"times":          minimal + "slack: 1.5ms\nttl: 1m30s\nhorizon: \"+.5s\"\n",
		"no limits":      minimal + "limits: []\n",
		"a day":          minimal + "limits: [{metric: chars, limit: 9, algorithm: daily, per: 1440m, reset_at: 23:59:59}]\n",
		"keys' models": minimal + "provider: openai\nlimits:\n- {metric: tokens, limit: 900, per: 1s, scope: key, models: [\"*\"]}\n" +
			"- {metric: tokens, limit: 900, per: 1s, scope: pool, models: [\"*\"]}\n- {metric: tokens, limit: 900, per: 1s, models: [a, b]}\n",
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

// taken checks that a Caller can be made of the pool. It doesn't talk to Redis.
func taken(t *testing.T, p *Pool) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	c, err := caller.New(rdb, p.Caller)
	if err != nil {
		t.Fatalf("Parse takes it, New doesn't: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheSchemaRefuses(t *testing.T) {
	s := compile(t)
	for name, src := range map[string]string{
		"no keys":             "pool: p\nbase_url: https://h\n",
		"an unknown field":    minimal + "retries: 1\n",
		"in a key":            "pool: p\nbase_url: https://h\nkeys: [{id: k, secret: s, acount: a}]\n",
		"a key without":       "pool: p\nbase_url: https://h\nkeys: [{id: k}]\n",
		"a choice":            minimal + "strategy: random\n",
		"a time":              minimal + "slack: 5\n",
		"a count":             minimal + "concurrency: 0\n",
		"a URL":               "pool: p\nbase_url: h\nkeys: [{id: k, secret: s}]\n",
		"no period":           minimal + "limits: [{metric: requests, limit: 5}]\n",
		"a reset of a window": minimal + "limits: [{metric: requests, limit: 5, per: 1s, reset_at: \"00:00\"}]\n",
		"a burst of a day":    minimal + "limits: [{metric: requests, limit: 5, algorithm: daily, burst: 2}]\n",
		"a time of day":       minimal + "limits: [{metric: requests, limit: 5, algorithm: daily, reset_at: \"7:30\"}]\n",
		"a budget":            minimal + "retry: {budget: {share: 2, per_second: 1}}\n",
	} {
		if err := validate(t, s, src); err == nil {
			t.Errorf("%s: the schema takes it", name)
		}
		if _, err := Parse("f", []byte(src), anything); err == nil {
			t.Errorf("%s: Parse takes it", name)
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

// A field that is new in the configuration is either in the file or named here as one that only a program can set.
func TestEveryFieldOfTheConfigurationIsInTheFile(t *testing.T) {
	r := &reader{}
	var d draft
	example := documented(t)
	for _, c := range []struct {
		table map[string]field
		want  []string
	}{
		{r.poolFields(&d), append(fieldsOf[caller.Config]("Profile", "Hooks"), "base_url", "provider")},
		{r.keyFields(new(keyDraft)), fieldsOf[caller.Key]()},
		{r.limitFields(new(limitDraft)), append(fieldsOf[caller.Limit]("Location"), "time_zone")},
		{r.breakerFields(new(int64), new(time.Duration)), fieldsOf[caller.Breaker]()},
		{r.hedgeFields(new(caller.Hedge)), fieldsOf[caller.Hedge]()},
		{r.retryFields(new(retryDraft)), fieldsOf[retry.Policy]("Retryable", "OnRetry")},
	} {
		for _, name := range c.want {
			if _, ok := c.table[name]; !ok {
				t.Errorf("the file has no field %s", name)
			}
		}
		for name := range c.table {
			if !slices.Contains(c.want, name) {
				t.Errorf("the file's field %s is none of the configuration", name)
			}
			if !strings.Contains(example, name+":") {
				t.Errorf("the package's comment doesn't show %s", name)
			}
		}
	}
}

func TestTyposOfMetrics(t *testing.T) {
	for name, want := range map[string]caller.Metric{
		"request": caller.Requests, "Requests": caller.Requests, "reqests": caller.Requests, "token": caller.Tokens,
		"input-tokens": caller.InputTokens, "ouput_token": caller.OutputTokens, "micro_dollar": caller.MicroDollars,
		"requests": "", "tokens": "", "images": "", "input_chars": "", "audio_tokens": "", "gpu.seconds": "", "x": "",
	} {
		if got, _ := meant(name); got != want {
			t.Errorf("%s: taken for %q, want %q", name, got, want)
		}
	}
}
