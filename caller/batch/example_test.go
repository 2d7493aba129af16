package batch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock/penstock/caller/batch"
)

// A run that can be killed at any moment, and started again with the same files.
func Example_resume() {
	out := filepath.Join(os.TempDir(), fmt.Sprintf("upper-%d.jsonl", os.Getpid()))

	type record struct {
		ID   string `json:"id"`
		Text string `json:"text"`
	}
	upper := func(_ context.Context, r record) (record, error) { // in earnest: caller.Do
		return record{r.ID, strings.ToUpper(r.Text)}, nil
	}
	run := func(input string) (calls int, err error) {
		var ids batch.IDs
		journal, err := batch.OpenJournal(out, func(line []byte) error { // what earlier runs have done
			var r record
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			ids.Done(r.ID)
			return nil
		})
		if err != nil {
			return 0, err
		}
		todo := func(yield func(record, error) bool) {
			for line, err := range batch.Lines(strings.NewReader(input), 1<<20) {
				var r record
				if err == nil {
					err = json.Unmarshal(line.Text, &r)
				}
				if (err != nil || ids.Take(r.ID) == batch.Fresh) && !yield(r, err) {
					return
				}
			}
		}
		sink := func(r batch.Result[record, record]) error {
			if r.Err != nil {
				return r.Err
			}
			calls++
			line, err := json.Marshal(r.Out)
			if err != nil {
				return err
			}
			return journal.Append(line)
		}
		err = batch.Run(context.Background(), iter.Seq2[record, error](todo), upper, sink, batch.Options{Workers: 1})
		if closed := journal.Close(); err == nil {
			err = closed
		}
		return calls, err
	}

	first := `{"id":"a","text":"one"}` + "\n" + `{"id":"b","text":"two"}`
	for _, input := range []string{first, first + "\n" + `{"id":"c","text":"three"}`} {
		calls, err := run(input)
		fmt.Println(calls, "calls", err)
	}
	written, err := os.ReadFile(out)
	fmt.Print(string(written), err, os.Remove(out))
	// Output:
	// 2 calls <nil>
	// 1 calls <nil>
	// {"id":"a","text":"ONE"}
	// {"id":"b","text":"TWO"}
	// {"id":"c","text":"THREE"}
	// <nil> <nil>
}
