package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
)

// page serves the status page of the pool.
type page struct {
	server http.Server
	done   chan error // gets why the server has ended
}

// servePage serves the status page on a free port of this machine, and writes its address.
func (d *demo) servePage(w io.Writer) (*page, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	p := &page{done: make(chan error, 1)}
	p.server = http.Server{
		Handler:           status.Handler(d.fleet[0].caller, status.AllowChanges(caller.NewSecret(token))),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() { p.done <- p.server.Serve(listener) }()
	fmt.Fprintf(w, "Status page: http://%s/   token for changes: %s\n\n", listener.Addr(), token)
	return p, nil
}

// waitFor keeps the page open until ctx ends.
func (p *page) waitFor(ctx context.Context, w io.Writer) {
	fmt.Fprintln(w, "\nThe status page stays open. Ctrl-C ends it.")
	select {
	case <-ctx.Done():
	case err := <-p.done:
		p.done <- err
	}
}

// close ends the server, open pages included.
func (p *page) close() error {
	err := p.server.Close()
	if served := <-p.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
