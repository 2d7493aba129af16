package caller

import (
	"errors"
	"fmt"
)

// checkSending checks what the configuration says about sending calls.
func (p *plan) checkSending() error {
	var errs []error
	if p.Timeout < 0 {
		errs = append(errs, fmt.Errorf("Timeout is %v: use more than 0, or 0 for the context's deadline alone", p.Timeout))
	}
	if p.AttemptTimeout < 0 {
		errs = append(errs, fmt.Errorf("AttemptTimeout is %v: use more than 0, or 0 for none", p.AttemptTimeout))
	}
	return errors.Join(append(errs, p.Breaker.check(), p.Hedge.check())...)
}
