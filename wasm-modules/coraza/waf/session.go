package waf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
)

// Details of local answers, as the host's log and metrics name them.
const (
	DetailsBlock    = "waf"
	DetailsLimit    = "waf_body_limit"
	DetailsEncoding = "waf_content_encoding"
)

// Ids of Coraza's recommended rules and of the CRS that a policy's own choices would make wrong.
const (
	ruleBodyError         = 200002
	ruleRestrictedHeaders = 920450
)

// Head is a request's head as received.
type Head struct {
	ID       string
	Method   string
	Target   string
	Protocol string
	// Authority is what HTTP/2 sends in place of Host.
	Authority   string
	Headers     [][2]string
	Source      netip.AddrPort
	Destination netip.AddrPort
}

// Verdict says what to do. Status 0: go on.
type Verdict struct {
	Status   int
	Details  string
	Location string
	// Event is JSON, nil when there is nothing to tell.
	Event []byte
}

// transaction is what Coraza's transactions can do beyond their public interface.
type transaction interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
	DetectionOnlyInterruption() *types.Interruption
}

// Session judges one request and its response.
type Session struct {
	tx       transaction
	policy   *Policy
	codings  []string
	reported int
	// wouldHave: detect mode has told that block mode would have answered.
	wouldHave bool
	// bodyErr is why the host's body could not be read.
	bodyErr  error
	partly   *partly
	response responseState
	meter    *meter
	// costs of the rules, if this request is one that is measured.
	costs map[int]time.Duration
}

// Begin opens a transaction for a request and judges its head (phase 1).
func (e *Engine) Begin(h *Head, p *Policy) (*Session, Verdict, error) {
	tx, ok := e.waf.NewTransactionWithID(h.ID).(transaction)
	if !ok {
		return nil, Verdict{}, errors.New("this Coraza's transactions cannot take a policy")
	}
	s := &Session{tx: tx, policy: p, codings: codings(h.Headers), meter: e.meter}
	if p.measures() {
		s.costs = make(map[int]time.Duration)
	}
	s.measured()
	if tx.IsRuleEngineOff() {
		return nil, Verdict{}, errors.New("the rule engine is off")
	}
	s.applyPolicy()
	tx.ProcessConnection(h.Source.Addr().String(), int(h.Source.Port()), h.Destination.Addr().String(), int(h.Destination.Port()))
	tx.ProcessURI(h.Target, h.Method, h.Protocol)
	s.addHeaders(h)
	tx.ProcessRequestHeaders()
	if v, blocked := s.interrupted(1); blocked {
		return s, v, nil
	}
	if len(s.codings) > 0 && !s.canDecode() {
		message := fmt.Sprintf("Content-Encoding %s cannot be inspected", clip(strings.Join(s.codings, ", "), eventValueMax))
		v, _ := s.limit(1, 415, DetailsEncoding, message, p.Mode == Block)
		return s, v, nil
	}
	return s, Verdict{}, nil
}

func (s *Session) canDecode() bool {
	return s.policy.Compressed == Decompress && readable(s.codings)
}

// applyPolicy puts the policy where CRS 901 leaves it alone: it only sets what is not set.
func (s *Session) applyPolicy() {
	p, set := s.policy, s.tx.Variables().TX()
	put := func(key string, value int) { set.Set(key, []string{strconv.Itoa(value)}) }
	put("blocking_paranoia_level", p.Paranoia)
	put("detection_paranoia_level", p.Paranoia)
	put("inbound_anomaly_score_threshold", p.Inbound)
	put("outbound_anomaly_score_threshold", p.Outbound)
	if p.Mode == Detect {
		put(txDetect, 1)
	}
	if p.Response == ResponseBody {
		put(txResponseBody, 1)
	}
	for _, id := range p.Remove {
		s.tx.RemoveRuleByID(id)
	}
	for _, t := range p.RemoveTargets {
		s.tx.RemoveRuleTargetByID(t.Rule, t.variable, t.key, nil)
	}
	if s.canDecode() {
		// The site lets compressed bodies in: the header alone is no sign of an attack.
		s.tx.RemoveRuleTargetByID(ruleRestrictedHeaders, variables.RequestHeadersNames, "content-encoding", nil)
	}
}

func (s *Session) addHeaders(h *Head) {
	host, seen := h.Authority, false
	for _, kv := range h.Headers {
		if !seen && strings.EqualFold(kv[0], "host") {
			seen, host = true, kv[1]
		}
		s.tx.AddRequestHeader(kv[0], kv[1])
	}
	if !seen && host != "" {
		s.tx.AddRequestHeader("Host", host)
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	s.tx.SetServerName(host)
}

// NoRequestBody judges a request without a body (phase 2).
func (s *Session) NoRequestBody() (Verdict, error) {
	return s.judgeRequest()
}

// judgeRequest runs phase 2 over what was fed.
func (s *Session) judgeRequest() (Verdict, error) {
	s.measured()
	if _, err := s.tx.ProcessRequestBody(); err != nil {
		return Verdict{}, fmt.Errorf("request body: %w", err)
	}
	if s.bodyErr != nil {
		return Verdict{}, fmt.Errorf("reading the request body: %w", s.bodyErr)
	}
	v, blocked := s.interrupted(2)
	if blocked {
		return v, nil
	}
	return s.passed(2), nil
}

// End runs the logging phase (5), which can change nothing any more, and gives the transaction back. The event is nil
// when its rules have nothing to tell.
func (s *Session) End() (event []byte, err error) {
	if s == nil || s.tx == nil {
		return nil, nil
	}
	s.measured()
	s.tx.ProcessLogging()
	if s.matchedSince() {
		event = s.event(actionDetect, 5, 0, false)
	}
	err = s.tx.Close()
	s.tx = nil
	return event, err
}

// drop gives back the transaction of a session that is not the one that tells of its request.
func (s *Session) drop() error {
	_, err := s.End()
	return err
}

// interrupted turns Coraza's interruption into an answer.
func (s *Session) interrupted(phase int) (Verdict, bool) {
	it := s.tx.Interruption()
	if it == nil {
		return Verdict{}, false
	}
	v := Verdict{Status: 403, Details: DetailsBlock}
	switch {
	case it.Action == "redirect" && it.Data != "":
		v.Status, v.Location = 302, it.Data
		if it.Status >= 301 && it.Status <= 308 {
			v.Status = it.Status
		}
	case it.Status >= 400 && it.Status <= 599:
		v.Status = it.Status
	}
	v.Event = s.event(actionBlock, phase, v.Status, true)
	return v, true
}

// passed tells of what matched without an answer: below the threshold, in detect mode, or not inspected whole.
func (s *Session) passed(phase int) Verdict {
	if status := s.wouldAnswer(phase); status != 0 {
		return Verdict{Event: s.event(actionDetect, phase, status, false)}
	}
	if phase == 2 && s.partly != nil {
		return Verdict{Event: s.event(actionLimit, phase, s.partly.status, false)}
	}
	if s.matchedSince() {
		return Verdict{Event: s.event(actionDetect, phase, 0, false)}
	}
	return Verdict{}
}

// wouldAnswer is the answer of block mode, the first time there is one. Coraza keeps only the first; later ones show in
// the score.
func (s *Session) wouldAnswer(phase int) int {
	it := s.tx.DetectionOnlyInterruption()
	if it == nil || (s.wouldHave && !s.matchedSince()) {
		return 0
	}
	if direction, threshold := s.direction(phase); s.wouldHave && s.score(direction) < threshold {
		return 0
	}
	if s.wouldHave = true; it.Status == 0 {
		return 403
	}
	return it.Status
}

// direction is what the score of a phase is called, and the threshold it is held against.
func (s *Session) direction(phase int) (string, int) {
	if phase > 2 {
		return "outbound", s.policy.Outbound
	}
	return "inbound", s.policy.Inbound
}

// partly says why a request was not inspected whole, and what block mode would have answered.
type partly struct {
	status  int
	message string
}

// limit answers a request that cannot be inspected whole, or notes it for the event when it goes on.
func (s *Session) limit(phase, status int, details, message string, enforced bool) (Verdict, bool) {
	s.partly = &partly{status, message}
	if !enforced {
		return Verdict{}, false
	}
	return Verdict{Status: status, Details: details, Event: s.event(actionLimit, phase, status, true)}, true
}

// readTrap remembers why a body could not be read, which Coraza would take for a malformed body.
type readTrap struct {
	from io.Reader
	to   *error
}

func (r readTrap) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		*r.to = err
	}
	return n, err
}
