package admission

import (
	"slices"
	"strings"
)

// modelGroup is the models that the same limits count and that the same accounts have.
type modelGroup struct {
	name     string   // empty where neither a limit nor an account is for some models only, and for calls without a model
	limits   []int    // indices in Config.Limits
	patterns []string // those of accounts that match
	anyModel bool     // every account has it: the call has no model
}

// hadBy reports whether one of the accounts has the models.
func (g *modelGroup) hadBy(accounts []Account) bool {
	return len(accounts) == 0 || slices.ContainsFunc(accounts, func(a Account) bool { return g.isOf(&a) })
}

// isOf reports whether an account has the models.
func (g *modelGroup) isOf(a *Account) bool {
	return len(a.Models) == 0 || g.anyModel ||
		slices.ContainsFunc(a.Models, func(p string) bool { return slices.Contains(g.patterns, p) })
}

// having returns for each account whether it has the models; nil: all have.
func (g *modelGroup) having(accounts []*account) []bool {
	var has []bool
	for i, a := range accounts {
		if !g.isOf(&a.Account) {
			if has == nil {
				has = slices.Repeat([]bool{true}, len(accounts))
			}
			has[i] = false
		}
	}
	return has
}

// modelGroups finds the model group of a model. Groups are only ever added, so that an index stays valid.
type modelGroups struct {
	list     []modelGroup
	byModel  map[string]int
	patterns []string        // of the models that accounts have, sorted
	single   bool            // neither a limit nor an account is for some models only: there is one group
	own      map[string]bool // models that have a group of their own, because an account's quota for them alone was used up
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
	its := groupOf(limits, g.patterns, model)
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
func newModelGroups(limits []Limit, accounts []Account) modelGroups {
	g := modelGroups{byModel: map[string]int{}}
	g.of(limits, "")
	g.single = !slices.ContainsFunc(limits, func(l Limit) bool { return len(l.Models) > 0 })
	g.setAccounts(accounts)
	return g
}

// setAccounts is for a change of accounts. It reports whether models may be in other groups than before.
func (g *modelGroups) setAccounts(accounts []Account) (changed bool) {
	var patterns []string
	for i := range accounts {
		patterns = append(patterns, accounts[i].Models...)
	}
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	if slices.Equal(patterns, g.patterns) {
		return false
	}
	g.patterns, g.single = patterns, false
	clear(g.byModel)
	return true
}

// groupOf returns the group of a model: the limits that count it, and the patterns of accounts that have it.
func groupOf(limits []Limit, patterns []string, model string) modelGroup {
	g := modelGroup{anyModel: model == ""}
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
	for _, p := range patterns {
		if model != "" && matches(p, model) {
			g.patterns = append(g.patterns, p)
			names = append(names, p)
		}
	}
	slices.Sort(names)
	g.name = strings.Join(slices.Compact(names), ";")
	if len(patterns) > 0 && model != "" {
		g.name += ";" // apart from the calls without a model
	}
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
