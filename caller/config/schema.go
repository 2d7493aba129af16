package config

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
)

//go:embed penstock.schema.json
var schemaFile []byte

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It has all fields with their forms and ranges.
// Parse alone checks what depends on several fields or on the environment. A file that Parse accepts is valid by the
// schema, as long as its fields that only hold anchors are named defaults or x-NAME.
func Schema() []byte { return slices.Clone(schemaFile) }

// object is a piece of a JSON Schema.
type object map[string]any

// writeSchema derives the schema from the reader's fields.
func writeSchema() ([]byte, error) {
	var d draft
	s := mappingJSON((&reader{}).poolFields(&d))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["patternProperties"] = object{spare.String(): object{"description": "Holds anchors for aliases and merge keys; it is not read."}}
	s["title"] = "A pool of API keys"
	s["description"] = "What package github.com/penstock/penstock/caller/config reads."
	s["$defs"] = object{"variable": object{
		"type": "string", "pattern": `\$\{`,
		"description": "${NAME} stands for an environment variable.",
	}}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(s)
	return b.Bytes(), err
}

func mappingJSON(fields map[string]field) object {
	properties, needed := object{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fields[name]
		p := maps.Clone(f.json)
		p["description"] = f.about
		properties[name] = p
		if f.required {
			needed = append(needed, name)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(needed) > 0 {
		s["required"] = needed
	}
	return s
}

func listJSON(items object) object {
	return object{"type": "array", "items": items, "minItems": 1}
}

// orVariable allows a variable in place of what a schema describes.
func orVariable(s ...object) object {
	return object{"anyOf": append(s, object{"$ref": "#/$defs/variable"})}
}

// textJSON also allows numbers and booleans, because the reader uses the plain text.
func textJSON() object {
	return object{"type": []string{"string", "number", "boolean"}, "pattern": `^\S+$`}
}

func choiceJSON(words []string) object { return orVariable(object{"enum": words}) }

func boolJSON() object {
	return orVariable(object{"type": "boolean"}, object{"enum": []string{"true", "false"}})
}

func countJSON(high int64) object {
	return orVariable(object{"type": "integer", "minimum": 1, "maximum": high}, object{"type": "string", "pattern": `^\+?[0-9_]+$`})
}

func numberJSON(low, high float64) object {
	return orVariable(object{"type": "number", "minimum": low, "maximum": high}, object{"type": "string", "pattern": `^[0-9+.]`})
}

func durationJSON() object {
	return orVariable(object{"type": "string", "pattern": `^\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`})
}

func clockJSON() object {
	return orVariable(object{"type": "string", "pattern": `^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$`})
}
