package redistest

import (
	"errors"
	"strconv"
	"sync"
)

const databases = 2048

// shared is the package's server. It belongs to the test binary, not to a test, so it is the one thing here that has
// to be global.
var shared sharedServer

type sharedServer struct {
	mu     sync.Mutex
	server *Server
	next   int
	free   []int
}

// acquire starts the server if need be and returns the number of a database that no test uses.
func (s *sharedServer) acquire() (int, *Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		server, err := newServer(settings{args: []string{"--databases", strconv.Itoa(databases)}})
		if err != nil {
			return 0, nil, err
		}
		s.server = server
	}
	if n := len(s.free); n > 0 {
		db := s.free[n-1]
		s.free = s.free[:n-1]
		return db, s.server, nil
	}
	if s.next == databases {
		return 0, nil, errors.New("redistest: more tests hold a database at once than the server has; close some")
	}
	s.next++
	return s.next - 1, s.server, nil
}

func (s *sharedServer) release(db int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, db)
}

func (s *sharedServer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.close()
		s.server = nil
	}
}
