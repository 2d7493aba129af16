package gateway_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/testkit"
)

// A thousand streams whose clients leave in the middle leave nothing behind: no call, no permit, no goroutine.
func TestGateway_AbortedStreamsLeaveNothing(t *testing.T) {
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, options{})
	client := b.front.Client()
	abort := func(streams int) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range streams / 20 {
					ctx, cancel := context.WithCancel(testkit.Context(t))
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(`{"stream":true}`))
					res, err := client.Do(req)
					if err != nil {
						t.Error(err)
					} else {
						_, _ = io.ReadFull(res.Body, make([]byte, 4))
					}
					cancel()
					if res != nil {
						res.Body.Close()
					}
				}
			})
		}
		all.Wait()
		b.permitsBack(t)
	}
	abort(40)
	before := runtime.NumGoroutine()
	abort(1000)
	testkit.Eventually(t, "the goroutines are as before", func() bool { return runtime.NumGoroutine() <= before+20 })
}
