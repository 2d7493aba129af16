package admission

import (
	"slices"
	"strings"
)

// modelGroup is the models that the same limits count.
type modelGroup struct {
	name   string // empty where no limit is for some models only
	limits []int  // indices in Config.Limits
}

// modelGroups finds the model group of a model. Groups are only ever added, so that an index stays valid.
type modelGroups struct {
	list    []modelGroup
	byModel map[string]int
	single  bool            // no limit is for some models only: there is one group
	own     map[string]bool // models that have a group of their own, because an account's quota for them alone was used up
}

// ownModel is between the name of a group and that of a model which has a group of its own.
const ownModel = "\x00"

// maxOwn bounds the models that have a group of their own.
const maxOwn = 64

// separate gives a model a group of its own: an account may serve the other models of its group, and not this one. It
// reports whether the model has one.
func (g *modelGroups) separate(model string) bool {
	if g.own[model] {
		return true
	} else if len(g.own) >= maxOwn {
		return false
	}
	if g.own == nil {
		g.own = map[string]bool{}
	}
	g.own[model], g.single = true, false
	delete(g.byModel, model)
	return true
}

// shared returns the name of the group whose limits a group has: its own, or the one that a model was separated from.
func shared(group string) string {
	name, _, _ := strings.Cut(group, ownModel)
	return name
}

// maxModels bounds the models whose group is kept. The group of any other model is computed each time.
const maxModels = 4096

// of returns the index of a model's group, and whether the group is new.
func (g *modelGroups) of(limits []Limit, model string) (index int, added bool) {
	if g.single {
		return 0, false
	}
	if i, ok := g.byModel[model]; ok {
		return i, false
	}
	its := groupOf(limits, model)
	if g.own[model] {
		its.name += ownModel + model
	}
	index = slices.IndexFunc(g.list, func(o modelGroup) bool { return o.name == its.name })
	if index < 0 {
		index, added = len(g.list), true
		g.list = append(g.list, its)
	}
	if len(g.byModel) < maxModels {
		g.byModel[model] = index
	}
	return index, added
}

// newModelGroups returns the group of calls without a model.
func newModelGroups(limits []Limit) modelGroups {
	g := modelGroups{byModel: map[string]int{}}
	g.of(limits, "")
	g.single = !slices.ContainsFunc(limits, func(l Limit) bool { return len(l.Models) > 0 })
	return g
}

// groupOf returns the limits that count a model, as a group.
func groupOf(limits []Limit, model string) modelGroup {
	var g modelGroup
	var names []string
	for i := range limits {
		l := &limits[i]
		if !Matches(l.Models, model) {
			continue
		}
		g.limits = append(g.limits, i)
		if len(l.Models) > 0 {
			names = append(names, strings.Join(l.Models, ","))
		}
	}
	slices.Sort(names)
	g.name = strings.Join(slices.Compact(names), ";")
	return g
}

// Matches reports whether a limit on patterns counts calls for a model. '*' stands for any text. A limit without
// patterns counts every call, one with patterns none whose model is unknown.
func Matches(patterns []string, model string) bool {
	if len(patterns) == 0 {
		return true
	}
	return model != "" && slices.ContainsFunc(patterns, func(p string) bool { return matches(p, model) })
}

// matches reports whether a text matches a pattern in which '*' stands for any text.
func matches(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for text = text[len(head):]; ; text = text[1:] {
		if matches(rest, text) {
			return true
		}
		if text == "" {
			return false
		}
	}
}
