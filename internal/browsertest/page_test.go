package browsertest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
)

const (
	patience = time.Minute
	token    = "a token of the operators"
)

// source is a fleet with an hour's trouble, whose changes take effect.
type source struct {
	mu       sync.Mutex
	disabled map[string]string // reasons, by key
}

func (s *source) Fleet(context.Context) (*caller.Fleet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := caller.Limit{Metric: caller.Tokens, Rate: 2_000_000, Period: time.Minute}
	f := &caller.Fleet{Pool: "openai-prod", History: history()}
	for i := range 6 {
		account := fmt.Sprintf("org-%c", 'a'+i/2)
		k := caller.KeyState{ID: fmt.Sprintf("key-%d", i+1), Account: account}
		switch reason, off := s.disabled[k.ID]; {
		case off:
			k.Disabled, k.Reason = 10*365*24*time.Hour, reason
		case i == 2:
			k.CoolingDown, k.Reason = 4*time.Second, "rate limit"
		case i == 5:
			k.Disabled, k.Reason = time.Hour, "invalid_api_key"
		}
		f.Keys = append(f.Keys, k)
		if i%2 == 0 {
			f.Usage = append(f.Usage, caller.LimitUsage{Limit: limit, Account: account, Units: 1_940_000 - int64(i)*400_000, Share: 0.97 - float64(i)*0.2})
		}
	}
	for i := range 4 {
		f.Replicas = append(f.Replicas, caller.Replica{
			Name: fmt.Sprintf("worker-7f9c6d-%d~1q2w3e", i), Seen: time.Duration(i) * time.Second, Uptime: 3 * time.Hour, InFlight: 9 + i,
			Held: map[string]int{"org-a": 5, "org-b": 4 + i}, Drifted: i == 3, Differences: []string{"limits"},
			Waiting: []caller.Waiting{{Priority: caller.PriorityNormal, Calls: 40, For: "tokens", Until: 2 * time.Second}},
		})
	}
	return f, nil
}

func history() []caller.Interval {
	var all []caller.Interval
	begin := time.Now().Truncate(30 * time.Second)
	for i := range 30 {
		n := int64(600 + 90*(i%7))
		all = append(all, caller.Interval{
			Begin: begin.Add(time.Duration(i-29) * 30 * time.Second), Succeeded: n, Failed: int64(i % 5), Attempts: n + 9, Throttled: int64(i % 3),
			P50: 700 * time.Millisecond, P95: time.Duration(1500+40*i) * time.Millisecond, P99: time.Duration(3000+90*(i%6)) * time.Millisecond,
		})
	}
	return all
}

func (s *source) Disable(_ context.Context, key, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disabled[key] = reason
	return nil
}

func (s *source) Enable(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.disabled, key)
	return nil
}

func (s *source) DisableAccount(context.Context, string, string) error { return nil }
func (s *source) EnableAccount(context.Context, string) error          { return nil }

// open starts a browser, and returns a context of one of its pages, the page's address and what its console said.
func open(t *testing.T) (ctx context.Context, url string, console func() []string) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no chromium: install Debian's package chromium")
		}
		t.Skip("there is no chromium")
	}
	server := httptest.NewServer(status.Handler(&source{disabled: map[string]string{}}, status.AllowChanges(caller.NewSecret(token))))
	t.Cleanup(server.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // it logs events that it doesn't know
	t.Cleanup(cancel)
	var mu sync.Mutex
	var said []string
	chromedp.ListenTarget(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventConsoleAPICalled:
			said = append(said, fmt.Sprint(e.Type, e.Args))
		case *runtime.EventExceptionThrown:
			said = append(said, e.ExceptionDetails.Error())
		}
	})
	return ctx, server.URL + "/", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// live waits until the first event has come.
func live() chromedp.Action {
	return chromedp.Poll(`document.getElementById('link').textContent === 'live'`, nil, chromedp.WithPollingTimeout(patience))
}

// worstContrast is the least contrast of any text with what is behind it (WCAG 2.1, 1.4.3), and the text.
const worstContrast = `(() => {
  const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
  const lum = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.body.querySelectorAll('*')) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = lum(parse(getComputedStyle(e).color)), b = lum(behind(e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < worst[0]) worst = [contrast, e.textContent.trim().slice(0, 40)];
  }
  return worst;
})()`

// On a phone and a desk, light and dark, the page has no error, no text that is hard to read, and is not wider than the
// window. With PENSTOCK_SCREENSHOTS a folder gets the pictures.
func TestPage_FitsWindowsAndThemes(t *testing.T) {
	ctx, url, console := open(t)
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{390, 1280} {
			var wide int64
			var worst []any
			var drawn bool
			var picture []byte
			run(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
				chromedp.EmulateViewport(width, 900), chromedp.Navigate(url), live(),
				chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide), chromedp.Evaluate(worstContrast, &worst),
				chromedp.Evaluate(`document.querySelectorAll('#calls canvas, #latency canvas').length === 2`, &drawn),
				chromedp.FullScreenshot(&picture, 100))
			if wide > width || !drawn {
				t.Errorf("%s, %d px: got a page of %d px, charts: %v; want no more than the window, and both charts", theme, width, wide, drawn)
			}
			if contrast, _ := worst[0].(float64); contrast < 4.5 {
				t.Errorf("%s, %d px: got a contrast of %v at %q, want at least 4.5", theme, width, worst[0], worst[1])
			}
			if dir := os.Getenv("PENSTOCK_SCREENSHOTS"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("status-%d-%s.png", width, theme)), picture, 0o600); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if said := console(); len(said) > 0 {
		t.Errorf("console: got %v, want nothing", said)
	}
}

// With the keyboard alone a key is disabled: the wrong token is refused, Escape leaves, and the focus comes back to the button.
func TestPage_WorksByKeyboard(t *testing.T) {
	ctx, url, _ := open(t)
	text := func(script string) (s string) {
		t.Helper()
		run(t, ctx, chromedp.Evaluate(script, &s))
		return s
	}
	focused := `document.activeElement.id`
	run(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url), live())
	for range 60 { // buttons and tables before it
		run(t, ctx, chromedp.KeyEvent(kb.Tab))
		if text(focused) == "k-key-1" {
			break
		}
	}
	if got := text(focused); got != "k-key-1" {
		t.Fatalf("focus after tabs: got %q, want the button of key-1", got)
	}
	opened := chromedp.Poll(`document.getElementById('confirm').open`, nil, chromedp.WithPollingTimeout(patience))
	closed := chromedp.Poll(`!document.getElementById('confirm').open`, nil, chromedp.WithPollingTimeout(patience))
	run(t, ctx, chromedp.KeyEvent(kb.Enter), opened, chromedp.KeyEvent(kb.Escape), closed)
	if got := text(focused); got != "k-key-1" {
		t.Errorf("focus after Escape: got %q, want the button of key-1", got)
	}
	run(t, ctx, chromedp.KeyEvent(kb.Enter), opened, chromedp.KeyEvent("leaked"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("wrong"),
		chromedp.KeyEvent(kb.Enter), chromedp.Poll(`!document.getElementById('refusal').hidden`, nil, chromedp.WithPollingTimeout(patience)))
	if got := text(`document.getElementById('refusal').textContent`); !strings.Contains(got, "isn't the token") {
		t.Errorf("a wrong token: got %q, want a refusal", got)
	}
	run(t, ctx, chromedp.Evaluate(`document.getElementById('token').select()`, nil), chromedp.KeyEvent(token), chromedp.KeyEvent(kb.Enter), closed,
		chromedp.Poll(`document.getElementById('k-key-1').textContent === 'Enable'`, nil, chromedp.WithPollingTimeout(patience)))
	if got := text(`document.getElementById('accounts').textContent`); !strings.Contains(got, "leaked") {
		t.Errorf("accounts: got %q, want the reason", got)
	}
	if got := text(focused); got != "k-key-1" {
		t.Errorf("focus after the change: got %q, want the button of key-1", got)
	}
}
