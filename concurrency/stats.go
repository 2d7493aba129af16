package concurrency

// Stats counts what this process did with the semaphore.
type Stats struct {
	Acquired int64 // leases granted
	Waited   int64 // requests that weren't served at once
	Lost     int64 // leases that ended before they were released
	Calls    int64 // script calls sent to Redis
	Held     int64 // permits that leases hold now
	Waiting  int64 // permits that callers wait for now
}

// Stats returns the counts so far.
func (s *Semaphore) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Held = s.session.used
	for _, n := range s.queue.units {
		st.Waiting += n
	}
	return st
}
