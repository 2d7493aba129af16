package main

import (
	"io"
	"net"
	"sync"
)

// balancer hands connections to the replicas in turn.
type balancer struct {
	listener net.Listener
	wg       sync.WaitGroup
}

func balance(replicas []string) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{listener: l}
	b.wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go relay(conn, replicas[n%len(replicas)])
		}
	})
	return b, nil
}

// relay copies bytes both ways until both sides have ended.
func relay(client net.Conn, replica string) {
	defer client.Close()
	server, err := net.Dial("tcp", replica)
	if err != nil {
		return
	}
	defer server.Close()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if c, ok := way[0].(*net.TCPConn); ok {
				_ = c.CloseWrite()
			}
		})
	}
	wg.Wait()
}

func (b *balancer) url() string { return "http://" + b.listener.Addr().String() }

func (b *balancer) close() {
	_ = b.listener.Close()
	b.wg.Wait()
}
