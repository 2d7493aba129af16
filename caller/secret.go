package caller

import (
	"fmt"
	"io"
	"log/slog"
	"unique"
)

const redacted = "[redacted]"

// Secret is an API key's secret. However it is printed, logged or encoded, it shows as "[redacted]"; only Reveal gives
// it away. The zero Secret is empty. Secrets can be compared by ==.
type Secret struct {
	// A handle, because fmt on an unexported field goes no further than its address, where it would show a string.
	value unique.Handle[string]
}

// NewSecret wraps a secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{unique.Make(value)}
}

// Reveal returns the secret itself.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.value.Value()
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]". It serves JSON, YAML and XML, too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
