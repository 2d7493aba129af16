package caller

import "context"

// JoinHooks returns Hooks that call those of all, in order. A context that one of them returns is given to the next.
func JoinHooks(all ...Hooks) Hooks {
	var out Hooks
	for _, h := range all {
		out = out.join(&h)
	}
	return out
}

// join returns the hooks of h and then of next.
func (h Hooks) join(next *Hooks) Hooks {
	return Hooks{
		Opened:         both(h.Opened, next.Opened),
		Closed:         both(h.Closed, next.Closed),
		CallStarted:    chain(h.CallStarted, next.CallStarted),
		Refused:        both(h.Refused, next.Refused),
		CallEnded:      both(h.CallEnded, next.CallEnded),
		Admitted:       both(h.Admitted, next.Admitted),
		AttemptStarted: chain(h.AttemptStarted, next.AttemptStarted),
		Attempted:      both(h.Attempted, next.Attempted),
		Released:       both(h.Released, next.Released),
		CooledDown:     both(h.CooledDown, next.CooledDown),
		Disabled:       both(h.Disabled, next.Disabled),
		UsageRead:      both(h.UsageRead, next.UsageRead),
		QuotaRead:      both(h.QuotaRead, next.QuotaRead),
		CircuitOpened:  both(h.CircuitOpened, next.CircuitOpened),
		KeysFailed:     both(h.KeysFailed, next.KeysFailed),
		LeaseLost:      bothLost(h.LeaseLost, next.LeaseLost),
		ScriptCalled:   both(h.ScriptCalled, next.ScriptCalled),
		RedisFailed:    both(h.RedisFailed, next.RedisFailed),
		RedisRecovered: bothPlain(h.RedisRecovered, next.RedisRecovered),
		LimitsChanged:  both(h.LimitsChanged, next.LimitsChanged),
		StateLost:      both(h.StateLost, next.StateLost),
		StateRestored:  both(h.StateRestored, next.StateRestored),
	}
}

// both returns a hook that calls first and then next. If one is nil, it returns the other.
func both[T any](first, next func(context.Context, T)) func(context.Context, T) {
	if first == nil || next == nil {
		return either(first == nil, next, first)
	}
	return func(ctx context.Context, event T) {
		first(ctx, event)
		next(ctx, event)
	}
}

// chain is both for hooks that return a context.
func chain[T any](first, next func(context.Context, T) context.Context) func(context.Context, T) context.Context {
	if first == nil || next == nil {
		return either(first == nil, next, first)
	}
	return func(ctx context.Context, event T) context.Context { return next(first(ctx, event), event) }
}

func bothPlain(first, next func(context.Context)) func(context.Context) {
	if first == nil || next == nil {
		return either(first == nil, next, first)
	}
	return func(ctx context.Context) {
		first(ctx)
		next(ctx)
	}
}

func bothLost(first, next func(context.Context, int, error)) func(context.Context, int, error) {
	if first == nil || next == nil {
		return either(first == nil, next, first)
	}
	return func(ctx context.Context, n int, cause error) {
		first(ctx, n, cause)
		next(ctx, n, cause)
	}
}

func either[F any](condition bool, a, b F) F {
	if condition {
		return a
	}
	return b
}
