package caller

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unique"
)

const redacted = "[redacted]"

// Secret is an API key's secret. It is printed, logged and encoded as "[redacted]"; only Reveal returns it. The zero
// Secret is empty. Secrets can be compared by ==.
type Secret struct {
	// A handle, because fmt prints an unexported string field, but only the address of a handle's value.
	value unique.Handle[string]
}

// NewSecret returns the Secret of a value.
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

// onlyFingerprint precedes the fingerprint in place of a secret that isn't known. A real secret has no NUL.
const onlyFingerprint = "\x00fingerprint\x00"

// secretWith returns what stands for an unknown secret of a fingerprint.
func secretWith(fingerprint string) Secret { return NewSecret(onlyFingerprint + fingerprint) }

// fingerprint returns the first 64 bits of the SHA-256 of a pool's name and the secret, in hexadecimal digits. It tells the
// secrets of a key apart without showing them.
func (s Secret) fingerprint(pool string) string {
	if fingerprint, ok := strings.CutPrefix(s.Reveal(), onlyFingerprint); ok {
		return fingerprint
	}
	sum := sha256.Sum256([]byte(pool + "\x00" + s.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]". JSON, YAML and XML use it, too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
