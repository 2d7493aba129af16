package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind is a way in which the recorder breaks attempts.
type Kind string

// Values of Kind.
const (
	Sound Kind = ""      // attempts pass
	Storm Kind = "storm" // a 429 in place of the provider's answer
	Mute  Kind = "mute"  // nothing is forwarded or answered until the mood ends
	Cut   Kind = "cut"   // the provider serves the attempt, and a reset takes the place of its answer
	Half  Kind = "half"  // the provider serves the attempt, and a reset follows half of the answer's body
	Slow  Kind = "slow"  // the attempt reaches the provider later by Delay
)

// Mood is what attempts meet from now on.
type Mood struct {
	Kind  Kind
	Share float64       // of the attempts, 0 to 1
	Delay time.Duration // of Slow
}

// SetMood replaces the mood. Attempts that a mute recorder holds end.
func (r *Recorder) SetMood(m Mood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mood, r.turn = m, 0
	close(r.changed)
	r.changed = make(chan struct{})
}

// drawMood spreads the mood evenly over its share of the attempts.
func (r *Recorder) drawMood() Mood {
	if r.mood.Kind == Sound {
		return Mood{}
	}
	if r.turn += r.mood.Share; r.turn < 1 {
		return Mood{}
	}
	r.turn--
	return r.mood
}

// waitForChange waits until the mood changes or the client leaves.
func (r *Recorder) waitForChange(ctx context.Context) {
	r.mu.Lock()
	changed := r.changed
	r.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// reply is an answer on its way to the client.
type reply struct {
	status int
	header http.Header
	body   []byte
	length int64 // of the whole body; -1: unknown
	cut    bool  // body is not the whole body

	stalled bool // the rest of the body never comes; without it, a reset follows
	storm   bool
}

// stormBody is a refusal without a reason that a client could do anything about.
const stormBody = `{"error":{"type":"requests","code":"rate_limit_exceeded","message":"The service is busy, please try again."}}`

func storm() *reply {
	return &reply{
		status: http.StatusTooManyRequests, header: http.Header{"Content-Type": {"application/json"}},
		body: []byte(stormBody), length: int64(len(stormBody)), storm: true,
	}
}

// reason says why a 429 was sent.
func (a *reply) reason() string {
	if a.status != http.StatusTooManyRequests {
		return ""
	}
	text := string(a.body)
	switch {
	case a.storm:
		return "storm"
	case strings.Contains(text, "insufficient_quota"):
		return "insufficient_quota"
	case strings.Contains(text, "rate_limited"):
		return "busy"
	case strings.Contains(text, "in flight"):
		return "concurrency"
	case strings.Contains(text, " on tokens"):
		return "tokens"
	default:
		return "requests"
	}
}

// answers reports whether the answer is a whole completion, and not an error or an empty text under status 200.
func (a *reply) answers() bool {
	var completion struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	return a.status/100 == 2 && !a.cut && json.Unmarshal(a.body, &completion) == nil &&
		len(completion.Choices) > 0 && completion.Choices[0].Message.Content != ""
}

// write sends the answer. Where it was cut, the connection ends after what there is of it.
func (a *reply) write(w http.ResponseWriter) {
	if !a.cut {
		maps.Copy(w.Header(), a.header)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // the client may have left
		return
	}
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to drop a connection; it recovers
	}
	defer conn.Close()
	length := a.length
	if length < 0 {
		length = int64(2*len(a.body) + 1)
	}
	fmt.Fprintf(out, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		a.status, http.StatusText(a.status), length)
	_, _ = out.Write(a.body)
	_ = out.Flush()
	if a.stalled {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = io.Copy(io.Discard, conn) // until the client leaves
	}
}

// abort resets the connection in place of an answer.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to drop a connection; it recovers
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
