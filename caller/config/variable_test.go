package config

import (
	"fmt"
	"strings"
	"testing"
)

// The spellings that other tools have for an environment variable are errors with the right spelling. A name that may be
// a secret isn't shown.
func TestParse_RefusesForeignSpellingsOfVariables(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"$OPENAI_API_KEY": "write ${OPENAI_API_KEY}", "os.environ/OPENAI_API_KEY": "write ${OPENAI_API_KEY}",
		"$(OPENAI_API_KEY)": "write ${OPENAI_API_KEY}", "env:OPENAI_API_KEY": "write ${OPENAI_API_KEY}",
		"env.OPENAI_API_KEY": "write ${OPENAI_API_KEY}", "process.env.OPENAI_API_KEY": "write ${OPENAI_API_KEY}",
		"$env:OPENAI_API_KEY": "write ${OPENAI_API_KEY}", "'%OPENAI_API_KEY%'": "write ${OPENAI_API_KEY}",
		`os.environ["OPENAI_API_KEY"]`: "write ${OPENAI_API_KEY}", "'${{ secrets.OPENAI_API_KEY }}'": "write ${OPENAI_API_KEY}",
		"$openaiKey": "write ${NAME}",
	} {
		src := "name: p\nbase_url: https://h\nkeys:\n  - id: k\n    secret: " + value + "\n"
		_, err := Parse("f", []byte(src), anything)
		if !strings.Contains(fmt.Sprint(err), "f:5:13: keys[0].secret: ") || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s:\n got %v\nwant %s", value, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "openaiKey") {
			t.Errorf("%s: got %v, want no name in small letters", value, err)
		}
	}
	for _, url := range []string{"https://$HOST/v1", "$BASE_URL/v1", "https://${"} {
		if _, err := Parse("f", []byte("name: p\nbase_url: "+url+"\nkeys: [{id: k, secret: s}]\n"), anything); !strings.Contains(fmt.Sprint(err), "write ${NAME}") {
			t.Errorf("%s: got %v, want the right spelling", url, err)
		}
	}
}

// A secret that only looks a little like a variable is taken as it is.
func TestParse_KeepsSecretsWithDollars(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"sk$abc", "$1a$xyz", "a$", "$$", "100%", "env", "sk-os.environ/X"} {
		p, err := Parse("f", []byte("name: p\nbase_url: https://h\nkeys: [{id: k, secret: '"+secret+"'}]\n"), anything)
		if err != nil || p.Caller.Keys[0].Secret.Reveal() != secret {
			t.Errorf("%s: got %v, want it as it is", secret, err)
		}
	}
}

// A variable without quotes in braces breaks the YAML; the message says why.
func TestParse_ExplainsUnquotedVariables(t *testing.T) {
	t.Parallel()
	const head = "name: p\nbase_url: https://h\n"
	const want = `a value with ${NAME} needs quotes; write {secret: "${NAME}"}`
	for _, src := range []string{
		head + "keys: [{id: k, secret: ${K}}]\n", head + "keys:\n  - {id: k, secret: ${K}}\n", head + "keys:\n  - {secret: ${K}, id: k}\n",
		head + "keys:\n  - {id: k,\n     secret: ${K}}\n", head + "keys:\n  - {id: \"${A}\", secret: ${K}}\n",
	} {
		if _, err := Parse("f", []byte(src), anything); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: got %v, want %s", src, err, want)
		}
	}
	if _, err := Parse("f", []byte(head+"keys: [{id: \"${K}\", secret: s]\n"), anything); strings.Contains(fmt.Sprint(err), "needs quotes") {
		t.Errorf("another mistake: got %v, want no advice on quotes", err)
	}
}

// Editors on Windows begin files with a byte order mark.
func TestParse_SkipsAByteOrderMark(t *testing.T) {
	t.Parallel()
	if _, err := Parse("f", []byte("\xef\xbb\xbf"+minimal), anything); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	_, err := Parse("f", []byte("\xef\xbb\xbfnmae: p\n"), anything)
	if !strings.Contains(fmt.Sprint(err), `f:1:1: unknown field "nmae"`) {
		t.Errorf("got %v, want the position without the mark", err)
	}
	if _, err := Parse("f", []byte("\xff\xfen\x00"), anything); !strings.Contains(fmt.Sprint(err), "save it as UTF-8") {
		t.Errorf("got %v, want advice on UTF-16", err)
	}
}
