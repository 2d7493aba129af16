package main

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// adminHandler serves health, metrics, and a status page of each pool. Access to its address is the operator's matter.
func (p *program) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.metrics.handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for _, name := range slices.Sorted(maps.Keys(p.live.current().pools)) {
			fmt.Fprintf(w, "<p><a href=\"status/%s/\">%s</a>\n", url.PathEscape(name), html.EscapeString(name))
		}
	})
	mux.HandleFunc("/status/{pool}/", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("pool")
		page := p.live.current().status[name]
		if page == nil {
			http.NotFound(w, r)
			return
		}
		path := strings.SplitN(r.URL.EscapedPath(), "/", 4)
		http.StripPrefix(strings.Join(path[:3], "/"), page).ServeHTTP(w, r)
	})
	return p.health(mux)
}
