package scripts

import "strings"

const hexDigits = "0123456789ABCDEF"

// wireName writes a name so that it holds nothing that separates fields: every byte but letters, digits, '_', '.' and
// '-' becomes '%' and two hexadecimal digits. Different names stay different, whatever bytes they hold.
func wireName(name string) string {
	extra := 0
	for i := range len(name) {
		if !plainByte(name[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return name
	}
	var b strings.Builder
	b.Grow(len(name) + extra)
	for i := range len(name) {
		if c := name[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}
