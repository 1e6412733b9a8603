package waf

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

const (
	eventRulesMax   = 64
	eventValueMax   = 100
	eventDataMax    = 200
	eventAlsoMax    = 16
	eventMessageMax = 200
	masked          = "[masked]"

	actionBlock  = "block"
	actionDetect = "detect"
	actionLimit  = "limit"
)

// Event is what the host writes to its log and ring.
type Event struct {
	// Action is block, detect (matched, went on) or limit (not inspected whole).
	Action string `json:"action"`
	Phase  int    `json:"phase"`
	// Status is the answer, or what it would have been; 0 when the score stayed below the threshold.
	Status int `json:"status"`
	// Enforced tells the answer from what it would have been.
	Enforced  bool `json:"enforced"`
	Score     int  `json:"score"`
	Threshold int  `json:"threshold"`
	// Message says why the request was not inspected whole, or the event is not.
	Message string      `json:"message,omitempty"`
	Rules   []EventRule `json:"rules"`
	// By is the rule that gave the answer: one of the operator's own, or the one that holds the score against the threshold.
	By *EventBy `json:"by,omitempty"`
}

// EventBy is the rule that gave the answer, or would have.
type EventBy struct {
	ID      int    `json:"id"`
	Message string `json:"message"`
}

// EventRule is one rule that matched.
type EventRule struct {
	ID       int    `json:"id"`
	Message  string `json:"message"`
	Variable string `json:"variable"`
	Value    string `json:"value"`
	Severity string `json:"severity"`
	Phase    int    `json:"phase"`
	// Data is what the rule says of the match, its logdata.
	Data string `json:"data,omitempty"`
	// Also are further variables it matched.
	Also []string `json:"also,omitempty"`
}

// event collects what matched so far. An event that cannot be written does not undo a verdict.
func (s *Session) event(action string, phase, status int, enforced bool) []byte {
	e := Event{Action: action, Phase: phase, Status: status, Enforced: enforced, Rules: []EventRule{}}
	var direction string
	direction, e.Threshold = s.direction(phase)
	e.Score = s.score(direction)
	if s.partly != nil {
		e.Message = s.partly.message
	}
	answered := s.tx.Interruption()
	if answered == nil {
		answered = s.tx.DetectionOnlyInterruption()
	}
	matched, more := s.tx.MatchedRules(), 0
	for _, m := range matched[min(s.reported, len(matched)):] {
		if id := m.Rule().ID(); (judges(id) && logs(m)) || (answered != nil && answered.RuleID == id) {
			e.By = &EventBy{ID: id, Message: clip(m.Message(), eventMessageMax)}
		}
		switch {
		case !tells(m):
		case len(e.Rules) == eventRulesMax:
			more++
		default:
			e.Rules = append(e.Rules, describe(m))
		}
	}
	if more > 0 && e.Message == "" {
		e.Message = fmt.Sprintf("%d more rules matched", more)
	}
	s.reported = len(matched)
	out, err := json.Marshal(e)
	if err != nil {
		return nil
	}
	return out
}

// score reads the anomaly score: CRS sums it up only when it judges, so before that the paranoia levels are added here.
func (s *Session) score(direction string) int {
	tx := s.tx.Variables().TX()
	read := func(key string) int {
		if v := tx.Get(key); len(v) > 0 {
			if n, err := strconv.Atoi(v[0]); err == nil {
				return n
			}
		}
		return 0
	}
	if n := read("blocking_" + direction + "_anomaly_score"); n > 0 {
		return n
	}
	sum := 0
	for level := 1; level <= s.policy.Paranoia; level++ {
		sum += read(direction + "_anomaly_score_pl" + strconv.Itoa(level))
	}
	return sum
}

func (s *Session) matchedSince() bool {
	matched := s.tx.MatchedRules()
	for _, m := range matched[min(s.reported, len(matched)):] {
		if tells(m) {
			return true
		}
	}
	return false
}

// tells keeps what a person wants to know: rules that log, without those which only add the others up.
func tells(m types.MatchedRule) bool { return logs(m) && !judges(m.Rule().ID()) }

func logs(m types.MatchedRule) bool {
	l, ok := m.(interface{ Log() bool })
	return !ok || l.Log()
}

// judges says whether a rule of the CRS only holds the score against the threshold.
func judges(id int) bool { return id/1000 == 949 || id/1000 == 959 }

func describe(m types.MatchedRule) EventRule {
	r := EventRule{
		ID:       m.Rule().ID(),
		Message:  clip(m.Message(), eventMessageMax),
		Severity: m.Rule().Severity().String(),
		Phase:    int(m.Rule().Phase()),
	}
	for _, d := range m.MatchedDatas() {
		name := d.Variable().Name()
		if name == "UNKNOWN" {
			continue
		}
		variable := name
		if d.Key() != "" {
			variable = clip(name+":"+d.Key(), eventValueMax)
		}
		if r.Variable != "" {
			if variable != r.Variable && !slices.Contains(r.Also, variable) && len(r.Also) < eventAlsoMax {
				r.Also = append(r.Also, variable)
			}
			continue
		}
		r.Variable, r.Value, r.Data = variable, clip(d.Value(), eventValueMax), clip(d.Data(), eventDataMax)
		if secret(name, d.Key()) {
			r.Value = masked
		}
	}
	for _, d := range m.MatchedDatas() {
		// What a rule says may hold any of the values it looked at.
		if secret(d.Variable().Name(), d.Key()) {
			r.Data = ""
		}
	}
	return r
}

// secret names what no log may hold.
func secret(variable, key string) bool {
	switch variable {
	case "REQUEST_COOKIES":
		return true
	case "REQUEST_HEADERS", "RESPONSE_HEADERS":
		switch strings.ToLower(key) {
		case "authorization", "proxy-authorization", "cookie", "set-cookie":
			return true
		}
	}
	return false
}

// clip cuts to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > n {
		// Replacing may have made it longer; cut at a character.
		for n > 0 && s[n]&0xC0 == 0x80 {
			n--
		}
		s = s[:n]
	}
	return s
}
