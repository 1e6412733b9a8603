// Package rules has what the WAF's engine compiles when nothing else is said: Coraza's recommended configuration and the
// OWASP Core Rule Set.
package rules

import (
	_ "embed"
	"io/fs"
	"path"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// Core are the rules of the CRS, without their setup.
const Core = "Include @owasp_crs/*.conf"

// Default are Coraza's recommended configuration and the whole Core Rule Set. SecRxPreFilter stays off, as recommended: it
// takes a third to a half of the CPU time away, but with it Coraza 3.8.1 misses attacks of the CRS's own suite (932311-7,
// 942220-2). The rules' own setup makes only phases 1 and 2 log; without the same for responses an outbound block could
// not say why.
func Default() []string {
	return []string{
		"Include @coraza.conf-recommended",
		`SecDefaultAction "phase:3,log,auditlog,pass"`,
		`SecDefaultAction "phase:4,log,auditlog,pass"`,
		"Include @crs-setup.conf.example",
		Core,
	}
}

// The Core Rule Set's module carries the recommended configuration of an older Coraza, without the rules that refuse a
// request whose arguments went over the limit or whose target did not parse. This is the one of the Coraza in use.
//
//go:embed conf/coraza.conf-recommended
var recommended []byte

const recommendedName = "@coraza.conf-recommended"

// FS is the only file system that rules can see.
type FS struct{}

// Open opens a file of the Core Rule Set.
func (FS) Open(name string) (fs.File, error) { return coreruleset.FS.Open(name) }

// ReadFile reads a file of the Core Rule Set, or the recommended configuration.
func (FS) ReadFile(name string) ([]byte, error) {
	if path.Base(name) == recommendedName {
		return recommended, nil
	}
	return fs.ReadFile(coreruleset.FS, name)
}

// Glob lists files of the Core Rule Set.
func (FS) Glob(pattern string) ([]string, error) { return fs.Glob(coreruleset.FS, pattern) }
