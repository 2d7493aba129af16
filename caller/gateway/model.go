package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// maxModel is the longest name of a model, in bytes.
const maxModel = 256

// models returns the names of the models in a request: in its path by the pool's profile, in JSON, or in a form. More than
// one name means that the provider could read another than the gateway. certain is false where there may be a name that
// the gateway can't see.
func models(r *http.Request, b *body, profile caller.Profile) (names []string, certain bool) {
	certain = true
	switch {
	case len(b.head) == 0:
		certain = b.whole
	case r.Header.Get("Content-Encoding") != "":
		certain = false
	case b.kind == multipartType:
		names, certain = modelsInForm(r.Header.Get("Content-Type"), b.head)
		certain = certain && b.whole
	case b.kind == jsonType || bytes.HasPrefix(bytes.TrimLeft(b.head, " \t\r\n\xef\xbb\xbf"), []byte("{")):
		names, certain = modelsInJSON(b.head)
		certain = certain && b.whole
	}
	if profile.Model != nil {
		if name := profile.Model(r, nil); name != "" { // in the path
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), certain
}

// modelsInJSON returns the values of the members model of an object, however they are written. It reports false if the
// text isn't an object, or ends early.
func modelsInJSON(text []byte) (names []string, whole bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return names, false
		}
		name, _ := key.(string)
		if !strings.EqualFold(name, "model") {
			if skip(d) != nil {
				return names, false
			}
			continue
		}
		var value any
		if d.Decode(&value) != nil {
			return names, false
		}
		if s, ok := value.(string); ok && s != "" {
			names = append(names, s)
		}
	}
	_, err := d.Token()
	return names, err == nil
}

// skip reads over the next value without keeping it.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// modelsInForm returns the values of the fields model of a form.
func modelsInForm(contentType string, text []byte) (names []string, whole bool) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, false
	}
	form := multipart.NewReader(bytes.NewReader(text), params["boundary"])
	for {
		part, err := form.NextPart()
		if err != nil {
			return names, err == io.EOF //nolint:errorlint // NextPart returns io.EOF itself
		}
		if !strings.EqualFold(part.FormName(), "model") {
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, maxModel+1))
		if err != nil {
			return names, false
		}
		names = append(names, string(value))
	}
}
