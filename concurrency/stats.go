package concurrency

// Stats counts the work of this process on the semaphore.
type Stats struct {
	LeasesGranted    int64 // since New
	LeasesLost       int64 // leases that ended before their release, since New
	Waits            int64 // requests that weren't served at once, since New
	ScriptCalls      int64 // sent to Redis, since New
	PermitsHeld      int64 // by leases, now
	PermitsWaitedFor int64 // by requests in the queue, now
}

// Stats returns the current counts.
func (s *Semaphore) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.PermitsHeld = s.session.used
	for _, n := range s.queue.units {
		st.PermitsWaitedFor += n
	}
	return st
}
