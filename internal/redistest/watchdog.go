package redistest

import (
	"fmt"
	"io"
	"os/exec"
)

// watchdog is a shell that waits for the end of its input. The input is a pipe whose other end only the test binary
// holds: however the binary dies, the pipe closes. The shell then kills the last process that it got from guard and
// removes the folder.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

const watchdogScript = `trap '' INT TERM HUP QUIT
pid=
while read -r line; do
	[ "$line" = done ] && exit
	pid=$line
done
[ -n "$pid" ] && kill -9 "$pid"
[ -n "$1" ] && rm -rf "$1"`

// watch starts a watchdog over dir, or over no folder if dir is empty.
func watch(dir string) (*watchdog, error) {
	cmd := exec.Command("sh", "-c", watchdogScript, "sh", dir)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("redistest: watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("redistest: watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// guard sends the watchdog the process to kill, in place of the one before.
func (w *watchdog) guard(pid int) error {
	if _, err := fmt.Fprintln(w.pipe, pid); err != nil {
		return fmt.Errorf("redistest: watchdog: %w", err)
	}
	return nil
}

// dismiss ends the watchdog without it doing anything.
func (w *watchdog) dismiss() {
	_, _ = io.WriteString(w.pipe, "done\n")
	_ = w.pipe.Close()
	_ = w.cmd.Wait()
}
