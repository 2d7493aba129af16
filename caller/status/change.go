package status

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
)

// Change is what an operator asks for.
type Change struct {
	Action string `json:"action"` // disable or enable
	// Key or Account is what is changed; exactly one is set.
	Key     string `json:"key,omitempty"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason,omitempty"` // of disable, for people
}

func (h *handler) serveChange(w http.ResponseWriter, r *http.Request) {
	if h.token.IsZero() {
		writeError(w, http.StatusForbidden, errors.New("this page only shows: give Handler the option AllowChanges"))
		return
	}
	want, got := sha256.Sum256([]byte(h.token.Reveal())), sha256.Sum256([]byte(r.Header.Get("Penstock-Token")))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		writeError(w, http.StatusUnauthorized, errors.New("the header Penstock-Token isn't the token"))
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		writeError(w, http.StatusUnsupportedMediaType, errors.New("send the change as application/json"))
		return
	}
	var c Change
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<14))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		writeError(w, http.StatusBadRequest, fmt.Errorf("the change isn't understood: %w", err))
		return
	}
	do, err := h.change(&c)
	if err != nil {
		writeError(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		writeError(w, statusOf(err), err)
		return
	}
	h.feed.forget()
	w.WriteHeader(http.StatusNoContent)
}

// change returns the function that carries out a change.
func (h *handler) change(c *Change) (func(context.Context) error, error) {
	if (c.Key == "") == (c.Account == "") {
		return nil, errors.New("give either a key or an account")
	}
	switch {
	case c.Action == "disable" && c.Key != "":
		return func(ctx context.Context) error { return h.source.Disable(ctx, c.Key, c.Reason) }, nil
	case c.Action == "enable" && c.Key != "":
		return func(ctx context.Context) error { return h.source.Enable(ctx, c.Key) }, nil
	case c.Action == "disable":
		return func(ctx context.Context) error { return h.source.DisableAccount(ctx, c.Account, c.Reason) }, nil
	case c.Action == "enable":
		return func(ctx context.Context) error { return h.source.EnableAccount(ctx, c.Account) }, nil
	}
	return nil, fmt.Errorf("the action is %q: use disable or enable", c.Action)
}
