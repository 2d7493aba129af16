package caller_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/penstock/penstock/caller"
)

// Printing, logging and encoding a secret, or a value that holds one, never shows it.
func TestSecret_IsRedacted(t *testing.T) {
	t.Parallel()
	secret := caller.NewSecret(canary)
	type outer struct {
		Exported   caller.Secret
		unexported caller.Secret
		Pointer    *caller.Secret
		Map        map[caller.Secret]caller.Secret
		Any        any
		Key        caller.Key
	}
	values := []any{
		secret, &secret, []caller.Secret{secret}, map[string]caller.Secret{"a": secret},
		caller.Key{ID: "k", Secret: secret}, &caller.Key{ID: "k", Secret: secret},
		caller.Config{Name: "p", Keys: []caller.Key{{ID: "k", Secret: secret}}},
		outer{secret, secret, &secret, map[caller.Secret]caller.Secret{secret: secret}, secret, caller.Key{Secret: secret}},
		&outer{Exported: secret, unexported: secret},
		fmt.Errorf("wrapped: %w", errors.Join(fmt.Errorf("%v", secret))),
	}
	for i, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t", "%20s", "% x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		encode(&out, v)
		for _, text := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary)} {
			if strings.Contains(out.String(), text) {
				t.Errorf("value %d: got the secret as %q, want it redacted, in:\n%s", i, text, out.String())
			}
		}
		if strings.Contains(out.String(), fmt.Sprint([]byte(canary))) {
			t.Errorf("value %d: got the secret's bytes, want them redacted", i)
		}
	}
}

func encode(out *bytes.Buffer, v any) {
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal, yaml.Marshal} {
		text, err := marshal(v)
		fmt.Fprintf(out, "%s %v\n", text, err)
	}
	slog.New(slog.NewJSONHandler(out, nil)).Info("m", "value", v)
	slog.New(slog.NewTextHandler(out, nil)).Info("m", "value", v)
}

// The JSON of a secret is "[redacted]".
func TestSecret_EncodesAsRedacted(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(map[string]any{"key": caller.Key{ID: "k", Secret: caller.NewSecret(canary)}})
	if want := `{"key":{"ID":"k","Secret":"[redacted]","Account":"","Weight":0}}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

// Reveal returns the secret, and equal secrets are equal values.
func TestSecret_RevealsAndCompares(t *testing.T) {
	t.Parallel()
	a, same, b := caller.NewSecret("a"), caller.NewSecret("a"), caller.NewSecret("b")
	var none caller.Secret
	if a.Reveal() != "a" || a != same || a == b {
		t.Error("got a Secret that doesn't reveal or compare by its value, want it to")
	}
	if !none.IsZero() || none.Reveal() != "" || caller.NewSecret("") != none || a.IsZero() {
		t.Error("got an empty Secret that isn't the zero Secret, want it to be")
	}
}
