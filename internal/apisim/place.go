package apisim

import (
	"net/http"
	"slices"
)

// lacks returns the refusal of a call in a region or for a model that the account doesn't have, nil if it has both.
func (a *account) lacks(region, model string) *apiError {
	switch {
	case a.region != "" && a.region != region:
		return &apiError{
			Message: "The API deployment for this resource does not exist.", Type: "invalid_request_error",
			Code: new("DeploymentNotFound"), status: http.StatusNotFound,
		}
	case len(a.models) > 0 && !slices.Contains(a.models, model):
		return &apiError{
			Message: "The model `" + model + "` does not exist or you do not have access to it.", Type: "invalid_request_error",
			Code: new("model_not_found"), status: http.StatusNotFound,
		}
	}
	return nil
}

// addModel gives a model its limits at its first call.
func (a *account) addModel(model string) {
	if a.seen[model] {
		return
	}
	a.seen[model] = true
	for _, l := range a.perModel {
		l.Model = model
		a.windows = append(a.windows, newWindow(l))
	}
}

// settle corrects what limits of tokens counted for an admitted call.
func (a *account) settle(c *chatRequest, tokens int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.windows {
		if w.limit.Metric == Tokens && w.applies(c) {
			w.settle(c.sequence, tokens)
		}
	}
}
