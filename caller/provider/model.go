package provider

import (
	"net/http"
	"strings"
)

// modelInBody finds the model where most providers have it: in the body's member model.
func modelInBody(_ *http.Request, body []byte) string { return text(at(body, "model")) }

// modelInPath returns a function that finds the model in a path such as /v1beta/models/NAME:verb, behind the segment
// given, and otherwise in the body.
func modelInPath(segment string) func(*http.Request, []byte) string {
	return func(r *http.Request, body []byte) string {
		if r.URL != nil {
			if _, rest, ok := strings.Cut(r.URL.Path, "/"+segment+"/"); ok {
				rest, _, _ = strings.Cut(rest, "/")
				name, _, _ := strings.Cut(rest, ":")
				return name
			}
		}
		return strings.TrimPrefix(modelInBody(r, body), segment+"/")
	}
}
