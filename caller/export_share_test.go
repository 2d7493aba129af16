package caller

// Waiters returns how many wait for a shared call of Do whose result is a string.
func (c *Pool) Waiters(name string) int { return c.flights.waiters(shareKey[string]{name}) }

// AnswerWaiters returns how many wait for a shared answer.
func (c *Pool) AnswerWaiters(name string) int { return c.flights.waiters(shareKey[*shared]{name}) }

func (f *flights) waiters(key any) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if its := f.byKey[key]; its != nil {
		return its.waiting
	}
	return 0
}
