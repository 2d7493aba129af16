package caller

import (
	"io"
	"net/http"
)

// heldBody is an answer's body that gives the grant back when it has been read or closed.
type heldBody struct {
	io.ReadCloser
	grant *Grant
	usage *usageReader // nil where nothing is to be learned
}

// hold ties the grant to the answer's body, or releases it where there is nothing to read.
func hold(res *http.Response, g *Grant) io.ReadCloser {
	if res.Body == http.NoBody || !mayHaveBody(res) {
		g.end()
		return res.Body
	}
	held := &heldBody{res.Body, g, g.pool.plan.newUsageReader(res)}
	if w, ok := res.Body.(io.Writer); ok { // 101 Switching Protocols
		return struct {
			*heldBody
			io.Writer
		}{held, w}
	}
	return held
}

// mayHaveBody reports whether the answer may have a body. HTTP/2 gives those that have none a body of its own kind.
func mayHaveBody(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusNoContent, http.StatusNotModified:
		return false
	case http.StatusSwitchingProtocols:
		return true
	}
	return res.Request == nil || res.Request.Method != http.MethodHead
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && b.usage != nil {
		b.usage.write(p[:n])
	}
	if err != nil {
		b.settle(err)
		b.grant.end()
	}
	return n, err
}

func (b *heldBody) Close() error {
	err := b.ReadCloser.Close()
	b.settle(nil)
	b.grant.end()
	return err
}

// rest is a body of which the beginning was read already. Its grant was released before.
type rest struct {
	io.Reader
	io.Closer
	grant *Grant
}

func (b *rest) Close() error {
	err := b.Closer.Close()
	b.grant.ctx.end()
	return err
}
