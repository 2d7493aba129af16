package caller

import (
	"errors"
	"testing"
	"time"
)

// A limit of which a share is reserved is kept like the smaller limit.
func TestReserved_IsKeptLikeASmallerLimit(t *testing.T) {
	t.Parallel()
	const jitter = 100 * time.Millisecond
	for _, algorithm := range []Algorithm{Window, Bucket, Daily} {
		for _, metric := range []Metric{Requests, Tokens} {
			l := Limit{Metric: metric, Rate: 1000, Period: time.Minute, Algorithm: algorithm, Reserved: 0.05}
			if algorithm == Daily {
				l.Period = 0
			}
			small := l
			small.Rate, small.Reserved = 950, 0
			got, err := l.gcraParams(jitter)
			want, err2 := small.gcraParams(jitter)
			if got != want || err != nil || err2 != nil {
				t.Errorf("%s %s: %+v, %v; want %+v, %v", algorithm, metric, got, err, want, err2)
			}
		}
	}
	p, err := newSettings(Config{Name: "p", Keys: []Key{{ID: "k", Secret: NewSecret("s")}}, Limits: []Limit{
		{Metric: Tokens, Rate: 1000, Period: time.Minute, Reserved: 0.2},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.units(Cost{Tokens: 800}, ""); err != nil {
		t.Error(err)
	}
	if _, err := p.units(Cost{Tokens: 801}, ""); !errors.Is(err, ErrNeverFits) {
		t.Errorf("801 of 800: %v", err)
	}
	for _, wrong := range []float64{-0.1, 1, 95} {
		if err := (Limit{Metric: Tokens, Rate: 10, Period: time.Minute, Reserved: wrong}).withDefaults().check(); err == nil {
			t.Errorf("Reserved %v: got no error, want one", wrong)
		}
	}
	if n := (Limit{Rate: 1, Reserved: 0.9}).Usable(); n != 1 {
		t.Errorf("%d is usable of 1", n)
	}
}
