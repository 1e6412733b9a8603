package waf

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"aegis-coraza/rules"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/debuglog"
)

// own are the operator's files in the order they are read.
func (c *Config) own() []Seclang { return slices.Concat(c.Before, c.Seclang) }

func compile(c *Config, files int, log debuglog.Logger) (coraza.WAF, error) {
	w := coraza.NewWAFConfig().WithRootFS(rules.FS{}).WithDebugLogger(log).WithDirectives(prelude)
	before, own := min(files, len(c.Before)), c.own()
	place := slices.Index(c.Directives, rules.Core)
	if place < 0 {
		place = len(c.Directives)
	}
	for _, d := range c.Directives[:place] {
		w = w.WithDirectives(d)
	}
	for _, s := range own[:before] {
		w = w.WithDirectives(s.Text)
	}
	for _, d := range c.Directives[place:] {
		w = w.WithDirectives(d)
	}
	for _, s := range own[before:files] {
		w = w.WithDirectives(s.Text)
	}
	return coraza.NewWAF(w.WithDirectives(postlude))
}

// explain finds the file, the line and the directive of a compile error, none of which Coraza names: the files are
// added one by one until it comes up, and the last directive it logged is the one.
func explain(c *Config, err error) error {
	own := c.own()
	for files := 0; files <= len(own); files++ {
		last := &lastDirective{}
		if _, e := compile(c, files, last.logger()); e != nil {
			e = innermost(e)
			if files == 0 {
				return fmt.Errorf("directives: %s: %w", last, e)
			}
			f := own[files-1]
			if line := lineOf(f.Text, last.text); line > 0 {
				return fmt.Errorf("%s:%d: %s: %w", f.Name, line, last, e)
			}
			return fmt.Errorf("%s: %w", f.Name, e)
		}
	}
	return innermost(err)
}

// innermost drops "invalid WAF config from string: failed to compile the directive" around what helps.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

type lastDirective struct{ text string }

func (l *lastDirective) logger() debuglog.Logger {
	const key = "line="
	return debuglog.DefaultWithPrinterFactory(func(io.Writer) debuglog.Printer {
		return func(_ debuglog.Level, message, fields string) {
			if message != "Parsing directive" {
				return
			}
			if _, quoted, ok := strings.Cut(fields, key); ok {
				if text, err := strconv.Unquote(strings.TrimSpace(quoted)); err == nil {
					l.text = text
				}
			}
		}
	}).WithLevel(debuglog.LevelDebug)
}

// String is the directive, short enough for a log line.
func (l *lastDirective) String() string {
	if len(l.text) > eventMessageMax {
		return clip(l.text, eventMessageMax) + "…"
	}
	return l.text
}

// lineOf finds the line on which a directive begins, joining continued lines as Coraza's parser does.
func lineOf(text, directive string) int {
	if directive == "" {
		return 0
	}
	var joined strings.Builder
	start := 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if joined.Len() == 0 {
			start = i + 1
		}
		part, continued := strings.CutSuffix(line, `\`)
		joined.WriteString(part)
		if continued {
			continue
		}
		if joined.String() == directive {
			return start
		}
		joined.Reset()
	}
	return 0
}
