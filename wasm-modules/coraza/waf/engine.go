package waf

import (
	_ "embed"
	"fmt"
	"io/fs"
	"path"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
)

const (
	configBytesMax = 8 << 20
	seclangMax     = 64

	// ruleDetect and ruleResponseBody turn a policy into what only a rule may change in a transaction.
	ruleDetect       = 8_000_001
	ruleResponseBody = 8_000_002
	txDetect         = "aegis_detect"
	txResponseBody   = "aegis_response_body"
)

func isOwnRule(id int) bool { return id == ruleDetect || id == ruleResponseBody }

// Config is what a profile compiles.
type Config struct {
	// Directives come first; left out they are Coraza's recommended ones and the whole CRS.
	Directives []string `json:"directives"`
	// Before is read before the rules of the CRS, file by file: what its setup may say, and exclusions.
	Before []Seclang `json:"before"`
	// Seclang follows, file by file.
	Seclang []Seclang `json:"seclang"`
}

// Seclang is one file of rules of the operator's own.
type Seclang struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// DefaultDirectives are Coraza's recommended configuration and the whole Core Rule Set. SecRxPreFilter stays off, as
// recommended: it takes a third to a half of the CPU time away, but with it Coraza 3.8.1 misses attacks of the CRS's own
// suite (932311-7, 942220-2). The rules' own setup makes only phases 1 and 2 log; without the same for responses an
// outbound block could not say why.
func DefaultDirectives() []string {
	return []string{
		"Include @coraza.conf-recommended",
		`SecDefaultAction "phase:3,log,auditlog,pass"`,
		`SecDefaultAction "phase:4,log,auditlog,pass"`,
		"Include @crs-setup.conf.example",
		crsRules,
	}
}

// crsRules are the rules of the CRS, without their setup.
const crsRules = "Include @owasp_crs/*.conf"

// Rules that read what the policy put into TX; they run before any other.
var prelude = fmt.Sprintf(`SecRule TX:%s "@eq 1" "id:%d,phase:1,pass,t:none,nolog,noauditlog,ctl:ruleEngine=DetectionOnly"
SecRule TX:%s "@eq 1" "id:%d,phase:1,pass,t:none,nolog,noauditlog,ctl:responseBodyAccess=On"`,
	txDetect, ruleDetect, txResponseBody, ruleResponseBody)

// Directives that must hold whatever the profile says: the policy decides the mode and the limits, a Session enforces
// the limits before Coraza's own are reached, and nothing is written to a file.
var postlude = fmt.Sprintf(`SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit %d
SecRequestBodyInMemoryLimit %d
SecRequestBodyLimitAction Reject
SecResponseBodyAccess Off
SecResponseBodyLimit %d
SecResponseBodyLimitAction ProcessPartial
SecAuditEngine Off`, TextMaxCeiling+1024, TextMaxCeiling+1024, ResponseMaxCeiling+1024)

// Engine is one compiled set of rules.
type Engine struct {
	waf   coraza.WAF
	meter *meter
}

// ParseConfig reads a plugin configuration; empty means the defaults, unknown keys are refused.
func ParseConfig(data []byte) (*Config, error) {
	c := &Config{}
	if len(data) > configBytesMax {
		return nil, fmt.Errorf("configuration: %d bytes, at most %d", len(data), configBytesMax)
	}
	if len(data) > 0 {
		if err := decodeStrict(data, c); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
	}
	if n := max(len(c.Before), len(c.Seclang)); n > seclangMax {
		return nil, fmt.Errorf("configuration: %d SecLang files, at most %d", n, seclangMax)
	}
	if len(c.Directives) == 0 {
		c.Directives = DefaultDirectives()
	}
	return c, nil
}

// NewEngine compiles the rules. An error names the SecLang file, the line and the directive.
func NewEngine(c *Config) (*Engine, error) {
	m := &meter{}
	w, err := compile(c, len(c.own()), &meterLog{meter: m})
	if err != nil {
		return nil, explain(c, err)
	}
	return &Engine{waf: w, meter: m}, nil
}

// The Core Rule Set's module carries the recommended configuration of an older Coraza, without the rules that refuse a
// request whose arguments went over the limit or whose target did not parse. This is the one of the Coraza in use.
//
//go:embed conf/coraza.conf-recommended
var recommended []byte

const recommendedName = "@coraza.conf-recommended"

// rules is the only file system that rules can see.
type rules struct{}

func (rules) Open(name string) (fs.File, error) { return coreruleset.FS.Open(name) }

func (rules) ReadFile(name string) ([]byte, error) {
	if path.Base(name) == recommendedName {
		return recommended, nil
	}
	return fs.ReadFile(coreruleset.FS, name)
}

func (rules) Glob(pattern string) ([]string, error) { return fs.Glob(coreruleset.FS, pattern) }
