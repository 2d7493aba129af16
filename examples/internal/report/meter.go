package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Sample is the progress of a run.
type Sample struct {
	Done    int64 // requests that have ended, with success or not
	Skipped int64 // those of them that an earlier run did
	Failed  int64
	Retries int64
	Note    string // why the run waits; empty while it goes on
}

// Meter shows the progress of a run: on a terminal as a bar, elsewhere as a line every 5 s.
type Meter struct {
	total  int64
	start  time.Time
	sample func() Sample
	stop   chan struct{}
	gone   sync.WaitGroup
}

const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 5 * time.Second
)

// StartMeter shows samples on f until Stop is called.
func StartMeter(f *os.File, total int64, sample func() Sample) *Meter {
	m := &Meter{total: total, start: time.Now(), sample: sample, stop: make(chan struct{})}
	if term.IsTerminal(int(f.Fd())) {
		m.gone.Go(func() { m.bar(f) })
	} else {
		m.gone.Go(func() { m.lines(f) })
	}
	return m
}

// Stop shows the last sample and ends the Meter.
func (m *Meter) Stop() {
	close(m.stop)
	m.gone.Wait()
}

func (m *Meter) bar(w io.Writer) {
	bar := progressbar.NewOptions64(m.total,
		progressbar.OptionSetWriter(w), progressbar.OptionFullWidth(), progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "·"}), progressbar.OptionShowDescriptionAtLineEnd())
	m.every(barInterval, func() {
		s := m.sample()
		bar.Describe(m.describe(s))
		_ = bar.Set64(min(s.Done, m.total)) // a closed terminal doesn't end the run
	})
	fmt.Fprintln(w)
}

func (m *Meter) lines(w io.Writer) {
	m.every(lineInterval, func() { fmt.Fprintln(w, m.describe(m.sample())) })
}

func (m *Meter) every(d time.Duration, show func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			show()
		case <-m.stop:
			show()
			return
		}
	}
}

func (m *Meter) describe(s Sample) string {
	elapsed := time.Since(m.start)
	rate := float64(s.Done-s.Skipped) / elapsed.Seconds()
	parts := []string{fmt.Sprintf("%s of %s", Count(s.Done), Count(m.total)), fmt.Sprintf("%.1f/s", rate)}
	if s.Retries > 0 {
		parts = append(parts, Count(s.Retries)+" retries")
	}
	if s.Failed > 0 {
		parts = append(parts, Count(s.Failed)+" failed")
	}
	if left := m.total - s.Done; left > 0 && rate > 0 {
		eta := time.Duration(float64(left) / rate * float64(time.Second))
		parts = append(parts, "ETA "+eta.Round(time.Second).String())
	} else if left <= 0 {
		parts = append(parts, elapsed.Round(100*time.Millisecond).String())
	}
	if s.Note != "" {
		parts = append(parts, s.Note)
	}
	return strings.Join(parts, " · ")
}

// Count formats a number with commas.
func Count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
