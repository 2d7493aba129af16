package redistest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Listen opens an address through which other processes reach a server by way of f, with all its rules and states: a
// port of 127.0.0.1 if the server has TCP, else a unix socket. It is closed when t ends. To a process behind it, a
// network that refuses accepts a connection and closes it at once.
func (f *Faults) Listen(t testing.TB, s *Server) (network, addr string) {
	t.Helper()
	target := s.Options()
	network, addr = target.Network, "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "redistest") // t.TempDir's paths can be too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		addr = filepath.Join(dir, "p")
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { f.carry(ctx, client, target.Network, target.Addr) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		cancel()
		wg.Wait()
	})
	return network, listener.Addr().String()
}

// carry copies between a client and the server until either closes or ctx ends.
func (f *Faults) carry(ctx context.Context, client net.Conn, network, addr string) {
	defer client.Close()
	server, err := f.Dial(ctx, network, addr)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { carryOneWay(server, client) })
	wg.Go(func() { carryOneWay(client, server) })
	wg.Wait()
}

// carryOneWay passes each piece on as it was read, so that rules see a client's commands as the client sent them.
func carryOneWay(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
