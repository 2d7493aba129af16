package provider

import (
	"bytes"
	"net/http"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/penstock/penstock/caller"
)

// fileTokens is the estimate for an image or another file in a prompt, whose base64 bytes are no text. An image of the usual
// size costs 700 to 1,600 tokens at the large providers.
const fileTokens = 1000

// size is a request's cost as its body has it. All numbers are at most 2^53.
type size struct {
	chars  int64 // of text in the prompt
	wide   int64 // Chinese, Japanese or Korean characters among them: about a token each
	files  int64 // in the prompt
	output int64 // the most tokens that one answer may have; 0 where the request has no bound
	copies int64 // answers asked for; at least 1
}

// part is what a member of a request's body holds.
type part int

const (
	bound  part = iota // a parameter that may bound the output
	prompt             // text to read
	schema             // definitions, whose names the model reads, too
	nested             // parameters in an object of their own
)

// parts are the members of requests to any of the providers here. Their names don't contradict each other.
var parts = map[string]part{
	"messages": prompt, "input": prompt, "prompt": prompt, "instructions": prompt, "system": prompt, "suffix": prompt,
	"contents": prompt, "systemInstruction": prompt, "system_instruction": prompt, "instances": prompt, // Gemini, Vertex
	"content": prompt, "requests": prompt, "inputs": prompt, "texts": prompt, // embeddings
	"query": prompt, "documents": prompt, // reranking
	"message": prompt, "chat_history": prompt, "preamble": prompt, // Cohere

	"tools": schema, "functions": schema, "response_format": schema, "text": schema, "output_config": schema, "output_format": schema,
	"responseSchema": schema, "response_schema": schema, "responseJsonSchema": schema, "response_json_schema": schema,

	"generationConfig": nested, "generation_config": nested, "parameters": nested,
}

// measure reads the body of a request to any of the providers here.
func measure(body []byte) size {
	s := size{copies: 1}
	for key, value := range members(body) {
		s.add(key, value)
	}
	return s
}

func (s *size) add(key, value []byte) {
	switch parts[string(key)] {
	case prompt:
		s.addPrompt(value)
	case schema:
		s.addSchema(value)
	case nested:
		for key, value := range members(value) {
			if parts[string(key)] == schema {
				s.addSchema(value)
			} else {
				s.addBound(key, value)
			}
		}
	default:
		s.addBound(key, value)
	}
}

// addBound reads a parameter that bounds the output.
func (s *size) addBound(key, value []byte) {
	n, ok := count(value)
	if !ok {
		return
	}
	switch string(key) {
	case "max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens":
		s.output = max(s.output, n)
	case "n", "best_of", "candidateCount":
		s.copies = max(s.copies, n)
	}
}

// addPrompt counts the text in part of a prompt. A list without text consists of tokens, which OpenAI's older endpoints
// accept.
func (s *size) addPrompt(value []byte) {
	if value[0] == '[' && bytes.IndexByte(value, '"') < 0 {
		s.chars += 4 * int64(1+bytes.Count(value, []byte(",")))
		return
	}
	for key, text := range stringsIn(value) {
		switch string(key) {
		case "role", "type", "name", "model":
			continue
		case "data", "file_data", "b64_json", "url", "image_url", "fileUri", "file_uri":
			s.files++
			continue
		}
		if bytes.HasPrefix(text, []byte("data:")) {
			s.files++
			continue
		}
		s.addText(text)
	}
}

// addSchema counts the texts and the names in definitions.
func (s *size) addSchema(value []byte) {
	for _, text := range stringsIn(value) {
		s.addText(text)
	}
	for name := range keysIn(value) {
		s.addText(name)
	}
}

// addText counts the characters of an undecoded string.
func (s *size) addText(text []byte) {
	for len(text) > 0 {
		r, n := rune(text[0]), 1
		switch {
		case r == '\\':
			r, n = escaped(text)
		case r >= utf8.RuneSelf:
			r, n = utf8.DecodeRune(text)
		}
		text = text[n:]
		s.chars++
		if isWide(r) {
			s.wide++
		}
	}
}

// escaped reads the escape that text begins with: the character, and its length in bytes. All escapes but \u are single
// narrow characters.
func escaped(text []byte) (rune, int) {
	r, ok := hex(text)
	if !ok {
		return '\\', min(2, len(text))
	}
	if low, ok := hex(text[6:]); ok && utf16.IsSurrogate(r) {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return r, 6
}

// hex reads an escape of the form \u12ab.
func hex(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// isWide reports whether r belongs to Chinese, Japanese or Korean writing: the blocks from the radicals to the ideographs,
// Hangul, the compatibility and full-width forms, and the supplementary ideographs.
func isWide(r rune) bool {
	switch {
	case r < 0x2E80:
		return false
	case r <= 0x9FFF, r >= 0xAC00 && r <= 0xD7FF, r >= 0xF900 && r <= 0xFAFF, r >= 0xFF00 && r <= 0xFFEF:
		return true
	}
	return r >= 0x20000 && r <= 0x3FFFF
}

// input is the prompt's size in tokens: a quarter of its characters, rounded up, and all of the Chinese, Japanese and
// Korean ones.
func (s *size) input() int64 {
	return (s.chars-s.wide+3)/4 + s.wide + s.files*fileTokens
}

// allOutput is the most tokens that all answers together may have.
func (s *size) allOutput() int64 {
	if s.output > most/s.copies {
		return most
	}
	return s.output * s.copies
}

// cost is one request with as many tokens. Tokens is what counts where a provider has one limit for both kinds.
func cost(tokens, input, output int64) caller.Cost {
	c := caller.Cost{caller.Requests: 1, caller.Tokens: min(tokens, most), caller.InputTokens: min(input, most)}
	if output > 0 {
		c[caller.OutputTokens] = min(output, most)
	}
	return c
}

// estimateSum is the estimate of the providers that charge the prompt and the most that the answer may have.
func estimateSum(_ *http.Request, body []byte) caller.Cost {
	if len(body) == 0 {
		return caller.Cost{caller.Requests: 1}
	}
	s := measure(body)
	return cost(s.input()+s.allOutput(), s.input(), s.allOutput())
}
