package rx

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"

	bytesyntax "rsc.io/binaryregexp/syntax"
)

// Translate writes what Go's parser made of a pattern in the syntax of Rust's `regex`. With bytes, every character is a
// byte, and what is past 255 never matches.
func Translate(re *syntax.Regexp, bytes bool) string {
	w := writer{bytes: bytes}
	w.regexp(re)
	return w.String()
}

// fromBytes is the same tree in the types of today's parser: that for bytes is an older copy of it.
func fromBytes(re *bytesyntax.Regexp) *syntax.Regexp {
	to := &syntax.Regexp{Op: syntax.Op(re.Op), Flags: syntax.Flags(re.Flags), Rune: re.Rune, Min: re.Min, Max: re.Max, Cap: re.Cap}
	for _, sub := range re.Sub {
		to.Sub = append(to.Sub, fromBytes(sub))
	}
	return to
}

type writer struct {
	strings.Builder
	bytes bool
}

const (
	never = `[a&&b]`

	surrogates    = 0xd800
	surrogatesEnd = 0xe000
)

func (w *writer) regexp(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		w.WriteString(`(?:)`)
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			w.literal(r, re.Flags&syntax.FoldCase != 0)
		}
	case syntax.OpCharClass:
		w.class(re.Rune)
	case syntax.OpAnyCharNotNL:
		w.either(`[^\n]`, `(?-u:[^\n])`)
	case syntax.OpAnyChar:
		w.either(`(?s:.)`, `(?s-u:.)`)
	case syntax.OpBeginLine:
		w.WriteString(`(?m:^)`)
	case syntax.OpEndLine:
		w.WriteString(`(?m:$)`)
	case syntax.OpBeginText:
		w.WriteString(`\A`)
	case syntax.OpEndText:
		w.WriteString(`\z`)
	case syntax.OpWordBoundary:
		w.WriteString(`(?-u:\b)`)
	case syntax.OpNoWordBoundary:
		w.WriteString(`(?-u:\B)`)
	case syntax.OpCapture:
		w.group(`(`, re.Sub[0])
	case syntax.OpStar:
		w.repeat(re, `*`)
	case syntax.OpPlus:
		w.repeat(re, `+`)
	case syntax.OpQuest:
		w.repeat(re, `?`)
	case syntax.OpRepeat:
		w.repeat(re, times(re.Min, re.Max))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			w.regexp(sub)
		}
	case syntax.OpAlternate:
		w.WriteString(`(?:`)
		for i, sub := range re.Sub {
			if i > 0 {
				w.WriteByte('|')
			}
			w.regexp(sub)
		}
		w.WriteByte(')')
	default: // OpNoMatch
		w.WriteString(never)
	}
}

func (w *writer) either(text, bytes string) {
	if w.bytes {
		w.WriteString(bytes)
	} else {
		w.WriteString(text)
	}
}

func (w *writer) group(open string, re *syntax.Regexp) {
	w.WriteString(open)
	w.regexp(re)
	w.WriteByte(')')
}

func (w *writer) repeat(re *syntax.Regexp, how string) {
	w.group(`(?:`, re.Sub[0])
	w.WriteString(how)
	if re.Flags&syntax.NonGreedy != 0 {
		w.WriteByte('?')
	}
}

func times(least, most int) string {
	switch {
	case most < 0:
		return "{" + strconv.Itoa(least) + ",}"
	case most == least:
		return "{" + strconv.Itoa(least) + "}"
	}
	return "{" + strconv.Itoa(least) + "," + strconv.Itoa(most) + "}"
}

// literal is one character, or with fold all that are the same but for their case.
func (w *writer) literal(r rune, fold bool) {
	if !fold || unicode.SimpleFold(r) == r {
		w.class([]rune{r, r})
		return
	}
	pairs := []rune{r, r}
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		pairs = append(pairs, other, other)
	}
	w.class(pairs)
}

// class is a set of ranges.
func (w *writer) class(pairs []rune) {
	last := unicode.MaxRune
	if w.bytes {
		last = 0xff
	}
	var in []rune
	add := func(from, to rune) {
		if from <= to {
			in = append(in, from, to)
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		// No text has a surrogate, and Rust knows of none.
		from, to := pairs[i], min(pairs[i+1], last)
		add(from, min(to, surrogates-1))
		add(max(from, surrogatesEnd), to)
	}
	switch {
	case len(in) == 0:
		w.WriteString(never)
		return
	case len(in) == 2 && in[0] == in[1] && alphanumeric(in[0]):
		w.WriteRune(in[0])
		return
	}
	w.either(`[`, `(?-u:[`)
	for i := 0; i < len(in); i += 2 {
		w.escaped(in[i])
		if in[i] != in[i+1] {
			w.WriteByte('-')
			w.escaped(in[i+1])
		}
	}
	w.either(`]`, `])`)
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func (w *writer) escaped(r rune) {
	switch {
	case alphanumeric(r):
		w.WriteRune(r)
	case w.bytes:
		// With braces it would be a character.
		fmt.Fprintf(w, `\x%02x`, r)
	default:
		fmt.Fprintf(w, `\x{%x}`, r)
	}
}
