package batch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Filter rewrites the journal at path with the lines for which keep returns true. The new file replaces the old one at once,
// so a crash leaves one or the other. Lines that a crash damaged are dropped, as OpenJournal drops them; a line that no
// journal wrote is an error. A missing file stays missing. A file that another process writes is an error.
func Filter(path string, keep func(line []byte) bool) error {
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	defer func() { _ = old.Close() }() // it holds the lock, which must outlast the renaming
	if err := own(old); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	j := &Journal{file: next}
	err = errors.Join(j.copy(old, keep), j.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("batch: %s was left as it is: %w", path, err), os.Remove(next.Name()))
	}
	return nil
}

// copy appends the lines of old for which keep returns true.
func (j *Journal) copy(old *os.File, keep func([]byte) bool) error {
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if err := j.file.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	for line, err := range Lines(old, MaxRecord) {
		if err != nil {
			return fmt.Errorf("line %d: %w", line.Number, err)
		}
		switch {
		case !isRecord(line.Text) && (zeroed(line.Text) || line.End == info.Size() && line.Text[0] == '{'):
		case !isRecord(line.Text):
			return fmt.Errorf("line %d: not a JSON object; is this the right file?", line.Number)
		case keep(line.Text):
			if err := j.Append(bytes.TrimLeft(line.Text, " \t")); err != nil {
				return err
			}
		}
	}
	return nil
}

// own locks the file, and checks that it still is the one under its name: Filter may have replaced it in between.
func own(f *os.File) error {
	err := lock(f)
	if err == nil {
		var here, named os.FileInfo
		if here, err = f.Stat(); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
		if named, err = os.Stat(f.Name()); err == nil && os.SameFile(here, named) {
			return nil
		}
	}
	return fmt.Errorf("batch: another process is writing %s; stop that one, or choose another file: %w", f.Name(), errors.Join(ErrInUse, err))
}

// ErrInUse is the error for a file that another process is writing.
var ErrInUse = errors.New("file is in use")
