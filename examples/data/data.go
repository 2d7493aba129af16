// Package data holds the sample requests of the examples.
package data

import _ "embed"

//go:generate go run ./generate -out requests.jsonl

// Requests are 1,000 sentences to translate, in the input format of OpenAI's Batch API, one request a line.
//
//go:embed requests.jsonl
var Requests []byte
