package waf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Limits of what a policy may say.
const (
	// TextMaxCeiling is the most text of a request body a policy may ask to inspect.
	TextMaxCeiling = 16 << 20
	// ResponseMaxCeiling is the most of a response body a policy may ask to inspect.
	ResponseMaxCeiling = 16 << 20
	policyBytesMax     = 256 << 10
	exclusionsMax      = 1024
)

// Mode says what a match means.
type Mode string

// OverLimit says what happens to a body with more text than is inspected.
type OverLimit string

// Compressed says what happens to a request with a Content-Encoding.
type Compressed string

// Response says how much of a response is inspected.
type Response string

// The values a policy may hold.
const (
	Block  Mode = "block"
	Detect Mode = "detect"

	Reject OverLimit = "reject"
	Stream OverLimit = "stream"

	RejectCompressed Compressed = "reject"
	Decompress       Compressed = "decompress"

	ResponseOff     Response = "off"
	ResponseHeaders Response = "headers"
	ResponseBody    Response = "body"
)

// Policy is what one site asks of the rules. It is data to a transaction, not a configuration of the engine.
type Policy struct {
	Mode          Mode           `json:"mode"`
	Paranoia      int            `json:"paranoia"`
	Inbound       int            `json:"inbound"`
	Outbound      int            `json:"outbound"`
	Remove        []int          `json:"remove"`
	RemoveTargets []TargetRemove `json:"remove_targets"`
	TextMax       int64          `json:"text_max"`
	OverLimit     OverLimit      `json:"over_limit"`
	Compressed    Compressed     `json:"compressed"`
	RatioMax      int64          `json:"ratio_max"`
	Response      Response       `json:"response"`
	ResponseMax   int64          `json:"response_max"`
	// MeasureEvery has the cost of every rule measured for one request in so many; 0 = for none.
	MeasureEvery int64 `json:"measure_every"`
}

// TargetRemove takes one variable, or one key of it, out of a rule's sight.
type TargetRemove struct {
	Rule   int    `json:"rule"`
	Target string `json:"target"`

	variable variables.RuleVariable
	key      string
}

// DefaultPolicy is what a site gets that says nothing: block, paranoia 1, 128 KiB of text.
func DefaultPolicy() Policy {
	return Policy{
		Mode: Block, Paranoia: 1, Inbound: 5, Outbound: 4,
		TextMax: 128 << 10, OverLimit: Reject, Compressed: RejectCompressed, RatioMax: 20,
		Response: ResponseOff, ResponseMax: 512 << 10,
	}
}

// ParsePolicy reads a policy; keys left out keep their defaults, unknown ones are refused.
func ParsePolicy(data []byte) (*Policy, error) {
	if len(data) > policyBytesMax {
		return nil, fmt.Errorf("policy: %d bytes, at most %d", len(data), policyBytesMax)
	}
	p := DefaultPolicy()
	if err := decodeStrict(data, &p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return &p, nil
}

func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the JSON value")
	}
	return nil
}

func (p *Policy) check() error {
	switch {
	case p.Mode != Block && p.Mode != Detect:
		return fmt.Errorf("mode %q is not block or detect", p.Mode)
	case p.Paranoia < 1 || p.Paranoia > 4:
		return fmt.Errorf("paranoia %d is not 1 to 4", p.Paranoia)
	case p.Inbound < 1 || p.Outbound < 1:
		return errors.New("a threshold below 1 would block everything")
	case p.TextMax < 1 || p.TextMax > TextMaxCeiling:
		return fmt.Errorf("text_max %d is not 1 to %d", p.TextMax, TextMaxCeiling)
	case p.OverLimit != Reject && p.OverLimit != Stream:
		return fmt.Errorf("over_limit %q is not reject or stream", p.OverLimit)
	case p.Compressed != RejectCompressed && p.Compressed != Decompress:
		return fmt.Errorf("compressed %q is not reject or decompress", p.Compressed)
	case p.RatioMax < 1:
		return fmt.Errorf("ratio_max %d is below 1", p.RatioMax)
	case p.Response != ResponseOff && p.Response != ResponseHeaders && p.Response != ResponseBody:
		return fmt.Errorf("response %q is not off, headers or body", p.Response)
	case p.ResponseMax < 1 || p.ResponseMax > ResponseMaxCeiling:
		return fmt.Errorf("response_max %d is not 1 to %d", p.ResponseMax, ResponseMaxCeiling)
	case p.MeasureEvery < 0:
		return fmt.Errorf("measure_every %d is below 0", p.MeasureEvery)
	case len(p.Remove)+len(p.RemoveTargets) > exclusionsMax:
		return fmt.Errorf("%d exclusions, at most %d", len(p.Remove)+len(p.RemoveTargets), exclusionsMax)
	}
	for _, id := range p.Remove {
		if isOwnRule(id) {
			return fmt.Errorf("remove: rule %d carries the policy itself and cannot be removed", id)
		}
	}
	for i := range p.RemoveTargets {
		if err := p.RemoveTargets[i].parse(); err != nil {
			return err
		}
	}
	return nil
}

// parse reads `ARGS`, or `ARGS:comment`.
func (t *TargetRemove) parse() error {
	if isOwnRule(t.Rule) {
		return fmt.Errorf("remove_targets: rule %d carries the policy itself and cannot be changed", t.Rule)
	}
	name, key, _ := strings.Cut(t.Target, ":")
	v, err := variables.Parse(strings.TrimSpace(name))
	if err != nil {
		return fmt.Errorf("remove_targets: %q is not a variable (rule %d)", name, t.Rule)
	}
	t.variable, t.key = v, strings.ToLower(strings.TrimSpace(key))
	return nil
}
