package caller

import (
	"testing"
	"time"
)

// What costs more than a limit of other models allows is still served.
func TestLimit_OfOtherModelsDoesNotRefuse(t *testing.T) {
	t.Parallel()
	l := Limit{Metric: Tokens, Rate: 100, Period: time.Minute, Models: []string{"small-*"}}
	p, err := newSettings(Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{l}})
	if err != nil {
		t.Fatal(err)
	}
	for model, refused := range map[string]bool{"small-1": true, "large-1": false, "": false} {
		if _, err := p.units(Cost{Tokens: 101}, model); (err != nil) != refused {
			t.Errorf("101 tokens of %q: %v", model, err)
		}
	}
}
