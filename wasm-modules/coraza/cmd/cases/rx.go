package main

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"aegis-coraza/rules"
	"aegis-coraza/rx"
	"aegis-coraza/suite"
	"aegis-coraza/waf"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"rsc.io/binaryregexp"
)

const (
	valuesOfRules  = 60
	valuesOfOthers = 12
	randomPatterns = 400
	valueBytesMax  = 300
)

type pattern struct {
	Source     string  `json:"source"`
	Translated string  `json:"translated"`
	Bytes      bool    `json:"bytes"`
	Values     []value `json:"values"`
}

type value struct {
	Value hexed `json:"value"`
	// Groups are places of the groups that Coraza wants, -1 for one that took no part; none if there is no match.
	Groups []int `json:"groups"`
}

// tricky are patterns for what the two syntaxes might disagree about.
var tricky = []string{
	``, `a`, `^`, `$`, `^$`, `\A`, `\z`, `(?-m:^a$)`, `(?-s:.)`, `a.c`, `\bfoo\b`, `\B`, `\Bx\B`, `x\b`, `[[:word:]]+`, `\w+\W\w`,
	`\d+\D`, `\s\S`, `[\s]\x0b`, `(?i)k`, `(?i)straße`, `(?i)ſ`, `(?i:a)b`, `[^a]`, `[^\n]`, `\pL+`, `\PL`, `\p{Greek}`, `(?i)\p{Lu}`,
	`[a-z&&[aeiou]]`, `[a--b]`, `[a~~b]`, `[]a]`, `[-a]`, `[a\-z]`, `a{2}`, `a{2,}`, `a{0}`, `a{0,3}?b`, `(a|ab)(c|bcd)(d*)`,
	`(a*)(a|b)*`, `(|a)+`, `(a|)+b`, `(a*)+`, `(a*?)+?b`, `(?U)a+`, `(?:a?){5}a{5}`, `a||b`, `(?P<n>x)(y)?`, `\Q.*\E+`, `\x41\x{263a}`,
	`\x{10ffff}`, `[^\x00-\x7f]`, `\a\f\t\n\r\v`, `#x y`, ` `, `/\*.*?\*/`, `\.\*\+\?\(\)\|\[\]\{\}\^\$`, `&&`, `~~`, `--`, `<>`,
	`(?i)\xe2`, `\xff+`, `[\x80-\xff]{2}`, `(?i)[\xe0-\xef]x`, `\xc3\xa9`, `(?s).\xff`, `\xfe$`, `\x{bc}\xe6`, `\b\xff\b`, `[^\xff]`,
	`�`, `[�-\x{10000}]`, `(?i)µ`, `(?i)å`, `[[:^alpha:]]`, `[\w-]`, `[^\W\d_]`, `(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)`,
}

func writePatterns(seed uint64, write func(any) error) error {
	random := rand.New(rand.NewPCG(seed, 42))
	rules, err := patternsOfRules()
	if err != nil {
		return err
	}
	each := func(arguments []string, values int) error {
		for _, argument := range arguments {
			p, err := rx.Parse(argument)
			if err != nil || p.Translated == "" {
				// No pattern, or none for the host; the test sees that few are.
				continue
			}
			if err := write(pattern{argument, p.Translated, p.Bytes, valuesOf(random, p, values)}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each(rules, valuesOfRules); err != nil {
		return err
	}
	if err := each(tricky, valuesOfRules); err != nil {
		return err
	}
	var others []string
	for range randomPatterns {
		others = append(others, randomPattern(random, 3))
	}
	return each(others, valuesOfOthers)
}

// patternsOfRules are the arguments of @rx in all rules of the module and of the suite.
func patternsOfRules() ([]string, error) {
	var all []string
	plugins.RegisterOperator("rx", func(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		all = append(all, o.Arguments)
		return never{}, nil
	})
	_, err := waf.NewEngine(&waf.Config{Directives: suite.Directives(rules.Default())})
	slices.Sort(all)
	return slices.Compact(all), err
}

type never struct{}

func (never) Evaluate(plugintypes.TransactionState, string) bool { return false }

func valuesOf(random *rand.Rand, p *rx.Pattern, n int) []value {
	var groups func(string) []int
	if p.Bytes {
		groups = binaryregexp.MustCompile(p.Source).FindStringSubmatchIndex
	} else {
		groups = regexp.MustCompile(p.Source).FindStringSubmatchIndex
	}
	// Even a pattern over bytes reads as one over text, which is good enough to make values of.
	tree, err := syntax.Parse(p.Source, syntax.Perl)
	out := make([]value, 0, n)
	for i := range n {
		var b strings.Builder
		if err == nil && i%8 != 0 {
			if i%3 == 0 {
				b.WriteString(noise(random))
			}
			write(&b, random, tree, p.Bytes)
			if i%4 == 0 {
				b.WriteString(noise(random))
			}
		} else {
			b.WriteString(noise(random))
		}
		text := b.String()
		if i%2 == 1 {
			text = mutated(random, text)
		}
		text = text[:min(len(text), valueBytesMax)]
		places := groups(text)
		out = append(out, value{hexed(text), places[:min(len(places), 2*rx.GroupsMax)]})
	}
	return out
}

// write makes a text that the tree probably matches.
func write(b *strings.Builder, random *rand.Rand, re *syntax.Regexp, bytes bool) {
	character := func(r rune) {
		if bytes && r <= 0xff {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
	}
	repeat := func(least, most int) {
		for range least + random.IntN(most-least+1) {
			if b.Len() < valueBytesMax {
				write(b, random, re.Sub[0], bytes)
			}
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && random.IntN(2) == 0 {
				r = fold(r)
			}
			character(r)
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			at := 2 * random.IntN(len(re.Rune)/2)
			from, to := re.Rune[at], re.Rune[at+1]
			character(from + rune(random.IntN(min(int(to-from), 200)+1)))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteString(pick(random, odd))
	case syntax.OpCapture:
		write(b, random, re.Sub[0], bytes)
	case syntax.OpStar:
		repeat(0, 3)
	case syntax.OpPlus:
		repeat(1, 3)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 {
			most = re.Min + 3
		}
		repeat(re.Min, min(most, re.Min+5))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			write(b, random, sub, bytes)
		}
	case syntax.OpAlternate:
		write(b, random, pick(random, re.Sub), bytes)
	}
}

func fold(r rune) rune {
	// Among the folds of k and s are the Kelvin sign and the long s.
	return []rune(strings.ToUpper(string(r)))[0]
}

// odd are what engines stumble over.
var odd = []string{
	"a", "k", "S", "0", " ", "\n", "\r\n", "\x00", "\x0b", "_", "-", "'", "\"", "<", "(", "é", "É", "ſ", "\u212a", "µ", "å", "\u212b", "\u2028",
	"😀", "\u0345", "�", "\xff", "\xfe\xff", "\xc3", "\xc3\x28", "\xe2\x82", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\xaf", "\xe2", "\xc2", "\x80", "\xbc", "\xe6",
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

func noise(random *rand.Rand) string {
	var b strings.Builder
	for range random.IntN(8) {
		b.WriteString(pick(random, odd))
	}
	return b.String()
}

// mutated takes out, doubles or changes something.
func mutated(random *rand.Rand, text string) string {
	if text == "" {
		return noise(random)
	}
	at := random.IntN(len(text))
	switch random.IntN(5) {
	case 0:
		return text[:at] + text[at+1:]
	case 1:
		return text[:at] + pick(random, odd) + text[at:]
	case 2:
		return strings.ToUpper(text)
	case 3:
		return text[:at]
	}
	return text + text[at:]
}

// randomPattern writes any pattern; Go may refuse it.
func randomPattern(random *rand.Rand, depth int) string {
	atoms := []string{"a", "b", "k", ".", `\w`, `\W`, `\d`, `\s`, `\b`, `\B`, "^", "$", "[ab]", "[^a]", `[\w-]`, "é", `\x{e9}`, `\xff`, "ſ", "(?i)s", `\n`, "[[:punct:]]"}
	if depth == 0 || random.IntN(4) == 0 {
		return pick(random, atoms)
	}
	sub := func() string { return randomPattern(random, depth-1) }
	switch random.IntN(7) {
	case 0:
		return sub() + "|" + sub()
	case 1:
		return "(" + sub() + ")"
	case 2:
		return "(?:" + sub() + ")" + pick(random, []string{"*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "{2,}"})
	case 3:
		return "(?i:" + sub() + ")"
	case 4:
		return "(" + sub() + "|" + sub() + ")" + pick(random, []string{"", "*", "+", "?"})
	default:
		return sub() + sub()
	}
}
