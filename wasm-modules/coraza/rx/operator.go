package rx

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"rsc.io/binaryregexp"
	bytesyntax "rsc.io/binaryregexp/syntax"
)

// GroupsMax is how many groups Coraza wants to know, the whole match among them.
const GroupsMax = 9

// Unset is the place of a group that took no part in a match.
const Unset = ^uint32(0)

// Group is where a group of a match begins and ends.
type Group struct{ From, To uint32 }

// Host matches patterns for the module.
type Host interface {
	// Compile takes a translated pattern over text, or over bytes; ok is false if the host does not.
	Compile(pattern string, bytes bool) (id uint32, ok bool)
	// Search looks for the leftmost match and fills in groups, of which there may be none. In text, a byte that is no part
	// of UTF-8 counts as U+FFFD. ok is false if the host does not take the value.
	Search(id uint32, value string, groups []Group) (matched, ok bool)
}

// Register puts the operator in place of Coraza's. Which of the two a rule gets is decided when it is compiled.
func Register(host Host) {
	plugins.RegisterOperator("rx", func(options plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		p, err := Parse(options.Arguments)
		if err != nil {
			return nil, err
		}
		if options.Memoizer == nil {
			return newOperator(host, p), nil
		}
		o, err := options.Memoizer.Do("aegis rx "+options.Arguments, func() (any, error) { return newOperator(host, p), nil })
		if err != nil {
			return nil, err
		}
		return o.(*operator), nil
	})
}

// Pattern is an argument of @rx as Coraza understands it.
type Pattern struct {
	// Source is what the engine for it is given.
	Source string
	// Bytes: it speaks of bytes that are no UTF-8, so that characters are bytes.
	Bytes bool
	// Translated is the pattern for the host; empty if that would understand another one.
	Translated string
	// Groups is the number of its groups, the whole match among them.
	Groups int
}

// Parse reads an argument of @rx. The error is that of Go's parser.
func Parse(argument string) (*Pattern, error) {
	// As in Coraza: a dot matches every character, and ^ and $ match at lines.
	p := &Pattern{Source: "(?sm)" + argument}
	if namesBytes(p.Source) {
		// Coraza leaves the flags out here.
		p.Source, p.Bytes = argument, true
		re, err := bytesyntax.Parse(argument, bytesyntax.Perl)
		if err != nil {
			return nil, err
		}
		p.Groups = re.MaxCap() + 1
		if tree := fromBytes(re); !repeatsNothing(tree) {
			p.Translated = Translate(tree, true)
		}
		return p, nil
	}
	re, err := syntax.Parse(p.Source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	p.Groups = re.MaxCap() + 1
	p.Translated = Translate(re, false)
	return p, nil
}

type operator struct {
	host    Host
	id      uint32
	hosted  bool
	groups  int
	pattern *Pattern
	// The engines of Coraza, once they are needed.
	text  *regexp.Regexp
	bytes *binaryregexp.Regexp
}

func newOperator(host Host, p *Pattern) *operator {
	o := &operator{host: host, groups: min(p.Groups, GroupsMax), pattern: p}
	if p.Translated != "" {
		o.id, o.hosted = host.Compile(p.Translated, p.Bytes)
		// The host has it.
		p.Translated = ""
	}
	return o
}

// found is where searches write groups to: they run one after the other.
var found [GroupsMax]Group

// Evaluate says whether the value matches, and gives the transaction the groups if it wants them.
func (o *operator) Evaluate(tx plugintypes.TransactionState, value string) bool {
	capturing := tx.Capturing()
	if o.hosted {
		groups := found[:0]
		if capturing {
			groups = found[:o.groups]
		}
		if matched, ok := o.host.Search(o.id, value, groups); ok {
			if !matched {
				return false
			}
			for i, g := range groups {
				if g.From == Unset {
					tx.CaptureField(i, "")
				} else {
					tx.CaptureField(i, value[g.From:g.To])
				}
			}
			return true
		}
	}
	if !capturing {
		return o.matches(value)
	}
	places := o.submatches(value)
	for i := 0; i < len(places)/2 && i < GroupsMax; i++ {
		if places[2*i] < 0 {
			tx.CaptureField(i, "")
		} else {
			tx.CaptureField(i, value[places[2*i]:places[2*i+1]])
		}
	}
	return places != nil
}

func (o *operator) compile() {
	if o.pattern.Bytes && o.bytes == nil {
		o.bytes = binaryregexp.MustCompile(o.pattern.Source)
	}
	if !o.pattern.Bytes && o.text == nil {
		o.text = regexp.MustCompile(o.pattern.Source)
	}
}

func (o *operator) matches(value string) bool {
	if o.compile(); o.bytes != nil {
		return o.bytes.MatchString(value)
	}
	return o.text.MatchString(value)
}

func (o *operator) submatches(value string) []int {
	if o.compile(); o.bytes != nil {
		return o.bytes.FindStringSubmatchIndex(value)
	}
	return o.text.FindStringSubmatchIndex(value)
}

// String is for whoever debugs.
func (o *operator) String() string { return fmt.Sprintf("rx %d %q", o.id, o.pattern.Source) }
