package waf

import (
	"fmt"

	"aegis-coraza/rules"

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
		c.Directives = rules.Default()
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
