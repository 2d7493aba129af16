package provider

import "strings"

// member is one member of a structured field: an item of a list, whose name it is, or a key of a dictionary with its
// value. Strings are decoded, other items are as written.
type member struct {
	name, value string
	params      params
}

// params are a member's parameters. One without a value is "?1", true.
type params map[string]string

// parseList parses a structured field that is a list or a dictionary (RFC 9651, section 4.2), of items, not of inner
// lists. As the RFC wants it, a field with an error in it is ignored as a whole.
func parseList(lines []string) []member {
	p := fieldParser{rest: strings.TrimSpace(strings.Join(lines, ", "))}
	var list []member
	for p.rest != "" {
		list = append(list, p.member())
		p.skip(" \t")
		if p.failed {
			return nil
		}
		if p.rest == "" {
			return list
		}
		if !p.take(",") {
			return nil
		}
		p.skip(" \t")
	}
	return nil // empty, or it ends in a comma
}

type fieldParser struct {
	rest   string
	failed bool
}

func (p *fieldParser) member() member {
	m := member{name: p.item(), params: params{}}
	if p.take("=") {
		m.value = p.item()
	}
	for p.take(";") {
		p.skip(" ")
		key := p.span(keyChars)
		if key == "" {
			p.failed = true
		}
		m.params[key] = "?1"
		if p.take("=") {
			m.params[key] = p.item()
		}
	}
	return m
}

const (
	digits    = "0123456789"
	lower     = "abcdefghijklmnopqrstuvwxyz"
	upper     = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	keyChars  = lower + digits + "_-.*"
	itemChars = lower + upper + digits + "!#$%&'*+-.^_`|~:/@?"
)

// item takes a bare item: a string without its quotes, or a token, number, date or boolean as it is.
func (p *fieldParser) item() string {
	if p.take(`"`) {
		return p.quoted()
	}
	if p.take(":") { // bytes
		bytes, rest, ok := strings.Cut(p.rest, ":")
		p.rest, p.failed = rest, p.failed || !ok
		return bytes
	}
	item := p.span(itemChars)
	p.failed = p.failed || item == ""
	return item
}

// quoted takes the rest of a string.
func (p *fieldParser) quoted() string {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest) && (p.rest[i+1] == '"' || p.rest[i+1] == '\\'):
			i++
			b.WriteByte(p.rest[i])
		case c == '\\' || c < ' ' || c > '~':
			p.failed, p.rest = true, ""
			return ""
		default:
			b.WriteByte(c)
		}
	}
	p.failed, p.rest = true, ""
	return ""
}

func (p *fieldParser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

func (p *fieldParser) skip(chars string) { p.rest = strings.TrimLeft(p.rest, chars) }

// span takes the longest run of the given characters.
func (p *fieldParser) span(chars string) string {
	rest := strings.TrimLeft(p.rest, chars)
	run := p.rest[:len(p.rest)-len(rest)]
	p.rest = rest
	return run
}
