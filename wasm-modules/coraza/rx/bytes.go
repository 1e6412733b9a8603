package rx

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// repeatsNothing says whether something is repeated that may match nothing, as in (a*)*. The engine over bytes is a copy
// of Go's from before 1.16, which finds other matches there than Go and everybody else do today.
func repeatsNothing(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		if matchesNothing(re.Sub[0]) {
			return true
		}
	}
	return slices.ContainsFunc(re.Sub, repeatsNothing)
}

// matchesNothing says whether an expression may match the empty string.
func matchesNothing(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return matchesNothing(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || matchesNothing(re.Sub[0])
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, matchesNothing)
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !matchesNothing(sub) })
	}
	return true
}

// namesBytes says whether the hexadecimal escapes of an expression make it one over bytes. It decides as Coraza's
// internal/operators/rx.go (matchesArbitraryBytes) does, whatever one may think of that.
func namesBytes(expression string) bool {
	decoded := make([]byte, 0, len(expression))
	for i := 0; i < len(expression); i++ {
		c := expression[i]
		if c != '\\' {
			decoded = append(decoded, c)
			continue
		}
		if i+3 >= len(expression) {
			decoded = append(decoded, expression[i:]...)
			break
		}
		if expression[i+1] != 'x' {
			decoded = append(decoded, c)
			continue
		}
		escape, length := expression[i:], 3
		if len(escape) >= 6 && escape[2] == '{' {
			if end := strings.IndexByte(escape, '}'); end != -1 {
				escape, length = `\x`+escape[3:end], end
			}
		}
		value, multibyte, _, err := strconv.UnquoteChar(escape, 0)
		if err != nil || multibyte {
			decoded = append(decoded, c)
			continue
		}
		decoded = append(decoded, byte(value))
		i += length
	}
	return !utf8.Valid(decoded)
}
