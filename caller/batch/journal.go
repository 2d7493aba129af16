package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxRecord is the length of the longest line of a Journal, in bytes.
const MaxRecord = 64 << 20

// Journal is a file of JSON objects, one a line, that only grows by whole lines. A process that is killed loses no line that
// Append has written. The file is locked while it is open, on systems with flock. A Journal is for one goroutine: use it
// in the sink of [Run].
type Journal struct {
	file    *os.File
	end     int64 // of the last whole line
	mended  int64
	pending []byte
}

// OpenJournal opens the file, or creates it, and passes every line to visit. An error of visit means that the line isn't
// one of this journal: the opening fails and the file stays as it is.
//
// Damage of a crash is mended:
//
//	| damage | repair |
//	|---|---|
//	| the last line is the beginning of an object | it is cut off |
//	| the last line is an object without its line break | it gets one |
//	| a line has bytes 0, which a file system leaves after a power failure | it is overwritten with spaces |
//
// Any other line that isn't a JSON object is an error, because the file is more likely to be another program's.
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

// Mended returns the number of bytes of damaged lines that were removed when the journal was opened.
func (j *Journal) Mended() int64 { return j.mended }

// Empty reports whether the journal has no line.
func (j *Journal) Empty() bool { return j.end == 0 }

// Append writes one line. The record must be a JSON object without a line break. After an error the file ends with the
// last whole line.
func (j *Journal) Append(record []byte) error {
	switch {
	case len(record) == 0 || record[0] != '{':
		return fmt.Errorf("batch: a record for %s isn't a JSON object; wrap it in one", j.file.Name())
	case bytes.IndexByte(record, '\n') >= 0:
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

// Close writes the file to the disk and closes it.
func (j *Journal) Close() error {
	if err := errors.Join(j.file.Sync(), j.file.Close()); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return nil
}

// span is a part of the file, as offsets.
type span struct{ from, to int64 }

// recover visits the lines of the file, and mends the damaged ones when all others are known to be the journal's.
func (j *Journal) recover(visit func([]byte) error) error {
	size, err := j.file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	var damaged []span
	unfinished := false // the last line lacks its line break
	for line, err := range Lines(io.NewSectionReader(j.file, 0, size), MaxRecord) {
		if err != nil {
			return fmt.Errorf("batch: %s:%d: %w", j.file.Name(), line.Number, err)
		}
		switch {
		case isRecord(line.Text):
			if err := visit(line.Text); err != nil {
				return fmt.Errorf("batch: %s:%d: %w", j.file.Name(), line.Number, err)
			}
			j.end, unfinished = line.End, line.Torn
		case zeroed(line.Text):
			damaged = append(damaged, span{line.Start, line.End})
		case line.End == size && line.Text[0] == '{':
			damaged = append(damaged, span{line.Start, size})
		default:
			return fmt.Errorf("batch: %s:%d: not a JSON object; is this the right file?", j.file.Name(), line.Number)
		}
	}
	return j.mend(damaged, unfinished)
}

// mend overwrites damaged lines with spaces, cuts off what follows the last record, and ends that record's line.
func (j *Journal) mend(damaged []span, unfinished bool) error {
	for _, d := range damaged {
		j.mended += d.to - d.from
		if d.to > j.end {
			continue // the truncation removes it
		}
		blank := append(bytes.Repeat([]byte(" "), int(d.to-d.from-1)), '\n')
		if _, err := j.file.WriteAt(blank, d.from); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
	}
	if err := j.file.Truncate(j.end); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	if !unfinished {
		return nil
	}
	if _, err := j.file.WriteAt([]byte("\n"), j.end); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	j.end++
	return nil
}

// isRecord reports whether a line is a JSON object.
func isRecord(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && line[0] == '{' && json.Valid(line)
}

// zeroed reports whether a line has bytes 0. No JSON has any outside of escapes.
func zeroed(line []byte) bool { return bytes.IndexByte(line, 0) >= 0 }
