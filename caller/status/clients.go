package status

import "context"

// Client is what a client of a gateway used of a model today, over all replicas.
type Client struct {
	Name         string  `json:"name"`
	Model        string  `json:"model"` // empty: not known, or the requests failed
	Requests     int64   `json:"requests"`
	InputTokens  int64   `json:"input_tokens"`
	OutputTokens int64   `json:"output_tokens"`
	Dollars      float64 `json:"dollars"`
}

// ShowClients adds the clients of a gateway to the page and its JSON. read returns them; it is called as often as the pool's
// state is read.
func ShowClients(read func(context.Context) ([]Client, error)) Option {
	return func(h *handler) { h.clients = read }
}
