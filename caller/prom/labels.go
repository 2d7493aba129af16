package prom

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Label is a label that can be left out.
type Label string

// Values of Label.
const (
	LabelAccount  Label = "account"
	LabelKey      Label = "key" // key ID
	LabelModel    Label = "model"
	LabelPriority Label = "priority"
)

// Other is the label's value of models and metrics above Config.MaxModels.
const Other = "other"

// Config says what is exported. The zero Config exports everything.
type Config struct {
	// Without are labels of events that are left out; their series add up. Defaults to none.
	Without []Label
	// MaxModels is the number of models, and of metrics that responses report, with series of their own. Later ones count as
	// Other. At least 1. Defaults to 100.
	MaxModels int
}

// DefaultMaxModels is the default of Config.MaxModels.
const DefaultMaxModels = 100

// maxKeys bounds the key IDs, and the accounts, with series of their own. Only rotation over years gets there.
const maxKeys = 10_000

func (c Config) check() error {
	if c.MaxModels < 0 {
		return fmt.Errorf("prom: MaxModels is %d: use 1 or more, or 0 for the default", c.MaxModels)
	}
	for _, l := range c.Without {
		if !slices.Contains([]Label{LabelAccount, LabelKey, LabelModel, LabelPriority}, l) {
			return fmt.Errorf("prom: Without has %q: use account, key, model or priority", l)
		}
	}
	return nil
}

// values are the values of labels of one series, by name.
type values map[Label]string

// labelling is the names of a family's labels.
type labelling []Label

func (c Config) labelling(names ...Label) labelling {
	return slices.DeleteFunc(names, func(l Label) bool { return slices.Contains(c.Without, l) })
}

// in returns the values in the order of the names.
func (l labelling) in(v values) []string {
	out := make([]string, 0, len(l))
	for _, name := range l {
		out = append(out, v[name])
	}
	return out
}

func (l labelling) strings() []string {
	out := make([]string, 0, len(l))
	for _, name := range l {
		out = append(out, string(name))
	}
	return out
}

// counter is a family of counters.
type counter struct {
	labelling
	vec *prometheus.CounterVec
}

func (c counter) with(v values) prometheus.Counter { return c.vec.WithLabelValues(c.in(v)...) }

// histogram is a family of histograms.
type histogram struct {
	labelling
	vec *prometheus.HistogramVec
}

func (h histogram) with(v values) prometheus.Observer { return h.vec.WithLabelValues(h.in(v)...) }
