package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Filter rewrites the journal at path, keeping the lines that keep wants; a line that isn't JSON is dropped. The new file
// replaces the old one at once, so that a crash leaves one or the other. A file that isn't there is left so; one that
// another process writes is an error.
func Filter(path string, keep func(line []byte) bool) error {
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	defer func() { _ = old.Close() }() // and with it the lock, which must outlast the renaming
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

// copy appends the lines of old that keep wants.
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
		if !json.Valid(line.Text) || !keep(line.Text) {
			continue
		}
		if err := j.Append(line.Text); err != nil {
			return err
		}
	}
	return nil
}

// own locks the file, and makes sure that it still is the one under its name: Filter may have replaced it in between.
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
