package status

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

//go:embed assets
var assets embed.FS

//go:embed page.html
var pageHTML string

// Source is what the page shows and changes: a *caller.Pool or a *caller.Admin.
type Source interface {
	Fleet(ctx context.Context) (*caller.Fleet, error)
	Disable(ctx context.Context, key, reason string) error
	Enable(ctx context.Context, key string) error
	DisableAccount(ctx context.Context, account, reason string) error
	EnableAccount(ctx context.Context, account string) error
}

// Option changes what Handler does.
type Option func(*handler)

// AllowChanges lets everyone who has the token take keys and accounts out of use and put them back. The token is any text of
// at least 16 bytes; keep it as you keep a password. Without this option, and with a shorter token, the page only shows.
func AllowChanges(token caller.Secret) Option {
	return func(h *handler) {
		if len(token.Reveal()) >= leastToken {
			h.token = token
		}
	}
}

const (
	leastToken = 16
	// readTimeout bounds a reading of the pool's state.
	readTimeout = 5 * time.Second
)

// Handler returns the page of a pool, for http.StripPrefix where it isn't at the root. It is safe for concurrent use. It
// reads the pool's state from Redis at most once a second, while a page is open or JSON is asked for.
func Handler(source Source, options ...Option) http.Handler {
	h := &handler{source: source}
	for _, o := range options {
		o(h)
	}
	h.feed.read = h.read
	h.page = template.Must(template.New("page").Funcs(formats).Parse(pageHTML))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.servePage)
	mux.HandleFunc("GET /state.json", h.serveJSON)
	mux.HandleFunc("GET /events", h.serveEvents)
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	mux.Handle("POST /change", http.NewCrossOriginProtection().Handler(http.HandlerFunc(h.serveChange)))
	return headers(mux)
}

type handler struct {
	source  Source
	clients func(context.Context) ([]Client, error) // nil: there are none
	token   caller.Secret                           // zero: no changes
	page    *template.Template
	feed    feed
}

// headers adds what keeps the page from loading or running anything that isn't its own.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "+
			"img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		if r.URL.Path == "/" || r.URL.Path == "/state.json" {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// Read returns what the page of a pool shows now. Its error is the source's.
func Read(ctx context.Context, source Source) (*State, error) {
	f, err := source.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	return newState(f, time.Now()), nil
}

// read reads the pool's state.
func (h *handler) read(ctx context.Context) (*State, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s, err := Read(ctx, h.source)
	if err != nil || h.clients == nil {
		return s, err
	}
	s.Clients, err = h.clients(ctx)
	return s, err
}

// view is what the template shows.
type view struct {
	*State
	Changes    bool
	HasClients bool
	Error      string
}

func (h *handler) servePage(w http.ResponseWriter, r *http.Request) {
	s, err := h.feed.get(r.Context())
	v := view{State: s, Changes: !h.token.IsZero(), HasClients: h.clients != nil}
	if err != nil {
		v.State, v.Error = &State{}, err.Error()
	}
	var out bytes.Buffer
	if err := h.page.Execute(&out, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

func (h *handler) serveJSON(w http.ResponseWriter, r *http.Request) {
	s, err := h.feed.get(r.Context())
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, s)
}

// sections are the parts of the page that events replace.
var sections = []string{"totals", "waits", "accounts", "limits", "replicas", "clients"}

// event is one server-sent event: the page's sections as HTML, and the history for the charts.
type event struct {
	Sections map[string]string `json:"sections,omitempty"`
	History  []Interval        `json:"history,omitempty"`
	Error    string            `json:"error,omitempty"`
}

func (h *handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	_ = control.SetWriteDeadline(time.Time{})
	_ = h.feed.follow(r.Context(), func(s *State, err error) error {
		e := event{}
		if err != nil {
			e.Error = err.Error()
		} else {
			e.Sections, e.History = map[string]string{}, s.History
			for _, name := range sections {
				if name == "clients" && h.clients == nil {
					continue
				}
				var out bytes.Buffer
				if err := h.page.ExecuteTemplate(&out, name, view{State: s, Changes: !h.token.IsZero()}); err != nil {
					return err
				}
				e.Sections[name] = out.String()
			}
		}
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return err
		}
		return control.Flush()
	})
}

// writeError answers with an error as JSON.
func writeError(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	writeJSON(w, map[string]string{"error": err.Error()})
}

// statusOf returns the HTTP status for an error of the source.
func statusOf(err error) int {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	default:
		return http.StatusBadGateway
	}
}

// writeJSON writes a value. A viewer that has left gets no error.
func writeJSON(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return
	}
}
