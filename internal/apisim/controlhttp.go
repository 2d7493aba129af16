package apisim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"time"
)

// order is the body of a control request. Each control reads the fields that it needs.
type order struct {
	Key     string  `json:"key"`
	Account string  `json:"account"`
	Metric  Metric  `json:"metric"`
	Units   int64   `json:"units"`
	Kind    Kind    `json:"kind"`
	Rate    float64 `json:"rate"`
	Min     string  `json:"min"`
	Max     string  `json:"max"`
	Secret  string  `json:"secret"`
	For     string  `json:"for"`
}

// controls are the methods of Server over HTTP, for a server in a process of its own. Each takes a JSON object:
//
//	POST /sim/revoke, /sim/restore          {"key": "k1"}                 the ID or the secret
//	POST /sim/rotate                        {"key": "k1", "secret": "sk-new"}
//	POST /sim/out-of-credit, /sim/top-up    {"account": "org-a"}
//	POST /sim/failure                       {"kind": "overloaded", "rate": 0.02}
//	POST /sim/storm                         {"kind": "busy", "for": "15s"}
//	POST /sim/latency                       {"min": "20ms", "max": "80ms"}
//	POST /sim/foreign-use                   {"account": "org-a", "metric": "requests", "units": 10}
//	GET  /sim/ledger
func (s *Server) controls(mux *http.ServeMux) {
	for path, do := range map[string]func(order) (any, error){
		"revoke":        func(o order) (any, error) { return nil, s.Revoke(o.Key) },
		"restore":       func(o order) (any, error) { return nil, s.Restore(o.Key) },
		"rotate":        func(o order) (any, error) { return nil, s.Rotate(o.Key, o.Secret) },
		"storm":         s.orderStorm,
		"out-of-credit": func(o order) (any, error) { return nil, s.OutOfCredit(o.Account) },
		"top-up":        func(o order) (any, error) { return nil, s.TopUp(o.Account) },
		"failure":       func(o order) (any, error) { return nil, s.SetFailure(o.Kind, o.Rate) },
		"latency": func(o order) (any, error) {
			l, err := o.latency()
			if err != nil {
				return nil, err
			}
			return nil, s.SetLatency(l)
		},
		"foreign-use": func(o order) (any, error) {
			n, err := s.ForeignUse(o.Account, o.Metric, o.Units)
			return map[string]int64{"units": n}, err
		},
	} {
		mux.HandleFunc("POST /sim/"+path, func(w http.ResponseWriter, r *http.Request) { obey(w, r, do) })
	}
	mux.HandleFunc("GET /sim/ledger", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Ledger()) })
}

func (s *Server) orderStorm(o order) (any, error) {
	d, err := time.ParseDuration(o.For)
	if err != nil {
		return nil, err
	}
	return nil, s.Storm(o.Kind, d)
}

func obey(w http.ResponseWriter, r *http.Request, do func(order) (any, error)) {
	var o order
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(&o)
	var out any
	if err == nil {
		out, err = do(o)
	}
	if err != nil {
		e := badRequest(err.Error())
		openAI.fail(w, e.status, *e)
		return
	}
	if out == nil {
		out = struct{}{}
	}
	writeJSON(w, out)
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, http.StatusOK, append(body, '\n'))
}

func (o order) latency() (Latency, error) {
	var l Latency
	var err error
	if l.Min, err = time.ParseDuration(cmp.Or(o.Min, "0")); err != nil {
		return l, err
	}
	l.Max, err = time.ParseDuration(cmp.Or(o.Max, "0"))
	return l, err
}
