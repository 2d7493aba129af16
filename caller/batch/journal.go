package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxRecord is how long a line of a Journal may be, in bytes.
const MaxRecord = 64 << 20

// Journal is a file of JSON lines that only grows, one whole line at a time. A process that is killed loses no line that
// Append has written. It is locked while it is open, on systems that have flock. A Journal is for one goroutine: give it
// to the sink of [Run].
type Journal struct {
	file    *os.File
	end     int64 // what is known to be whole lines
	mended  int64
	pending []byte
}

// OpenJournal opens the file, or creates it, and shows visit every line that is there. An error of visit says that the
// line is not one of this journal's and ends the opening, with nothing changed.
//
// A last line that was torn by a crash is mended: what isn't whole JSON is cut off, and a whole object that lacks only
// its line break gets one. Broken JSON anywhere else, or a last line that no journal wrote, is an error: it is more
// likely to be somebody's other file.
func OpenJournal(path string, visit func(line []byte) error) (_ *Journal, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := own(file); err != nil {
		return nil, err
	}
	j := &Journal{file: file}
	if err := j.recover(visit); err != nil {
		return nil, err
	}
	return j, nil
}

// Mended is how many bytes of a torn last line were cut off when the journal was opened.
func (j *Journal) Mended() int64 { return j.mended }

// Empty says whether there is no line.
func (j *Journal) Empty() bool { return j.end == 0 }

// Append writes one line. The record must be one JSON value without a line break. After an error the file ends with the
// last whole line.
func (j *Journal) Append(record []byte) error {
	if bytes.IndexByte(record, '\n') >= 0 {
		return fmt.Errorf("batch: a record for %s has a line break in it; compact its JSON", j.file.Name())
	}
	j.pending = append(append(j.pending[:0], record...), '\n')
	n, err := j.file.WriteAt(j.pending, j.end)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.end))
		}
		return fmt.Errorf("batch: %w", err)
	}
	j.end += int64(n)
	return nil
}

// Close makes sure that the file is on the disk and closes it.
func (j *Journal) Close() error {
	if err := errors.Join(j.file.Sync(), j.file.Close()); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return nil
}

// recover visits the lines of the file and mends the last one.
func (j *Journal) recover(visit func([]byte) error) error {
	size, err := j.file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	for line, err := range Lines(io.NewSectionReader(j.file, 0, size), MaxRecord) {
		if err != nil {
			return fmt.Errorf("batch: %s:%d: %w", j.file.Name(), line.Number, err)
		}
		if !json.Valid(line.Text) {
			if line.End < size || !tornRecord(line.Text) {
				return fmt.Errorf("batch: %s:%d: not JSON; is this the right file?", j.file.Name(), line.Number)
			}
			j.mended = size - j.end
			break
		}
		if err := visit(line.Text); err != nil {
			return fmt.Errorf("batch: %s:%d: %w", j.file.Name(), line.Number, err)
		}
		j.end = line.End
		if line.Torn {
			return j.finishLine()
		}
	}
	if err := j.file.Truncate(j.end); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return nil
}

func (j *Journal) finishLine() error {
	if _, err := j.file.WriteAt([]byte("\n"), j.end); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	j.end++
	return nil
}

// tornRecord says whether text may be the beginning of a record, or the zeros that a file system leaves after a power
// failure.
func tornRecord(text []byte) bool {
	text = bytes.Trim(text, "\x00")
	return len(text) == 0 || text[0] == '{'
}
