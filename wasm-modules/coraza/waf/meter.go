package waf

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/corazawaf/coraza/v3/debuglog"
)

// costRulesMax is how many rules one measured request tells of; the CRS has some 650.
const costRulesMax = 2048

// meter measures what each rule costs, for the few requests of which the policy asks for it. Coraza tells its debug log
// when it begins a rule and when it is done; nothing is written anywhere. It measures one transaction at a time: calls into
// Coraza run to their end.
type meter struct {
	// into collects; nil while nobody is measured.
	into  map[int]time.Duration
	depth int
	began time.Time
}

// measures decides by the clock, of which a client knows nothing.
func (p *Policy) measures() bool {
	return p.MeasureEvery > 0 && time.Now().UnixNano()/100%p.MeasureEvery == 0
}

// measured begins a call into Coraza for a session.
func (s *Session) measured() {
	s.meter.into, s.meter.depth = s.costs, 0
}

// Costs is the event that tells what each rule took, in nanoseconds; nil if the request is not one that is measured.
func (s *Session) Costs() []byte {
	if len(s.costs) == 0 {
		return nil
	}
	e := struct {
		Action string     `json:"action"`
		Costs  [][2]int64 `json:"costs"`
	}{Action: "costs"}
	for id, took := range s.costs {
		if len(e.Costs) < costRulesMax {
			e.Costs = append(e.Costs, [2]int64{int64(id), took.Nanoseconds()})
		}
	}
	s.costs = nil
	out, err := json.Marshal(e)
	if err != nil {
		return nil
	}
	return out
}

// meterLog is the debug log of a rule, or of everything else (rule 0).
type meterLog struct {
	*meter
	rule int
}

var _ debuglog.Logger = (*meterLog)(nil)

func (l *meterLog) WithOutput(io.Writer) debuglog.Logger     { return l }
func (l *meterLog) WithLevel(debuglog.Level) debuglog.Logger { return l }
func (l *meterLog) Trace() debuglog.Event                    { return silent{} }
func (l *meterLog) Info() debuglog.Event                     { return silent{} }
func (l *meterLog) Warn() debuglog.Event                     { return silent{} }
func (l *meterLog) Error() debuglog.Event                    { return silent{} }

// With learns which rule it is; a rule of a chain is part of the one that begins it.
func (l *meterLog) With(fields ...debuglog.ContextField) debuglog.Logger {
	if l.into == nil || l.rule != 0 {
		return l
	}
	named := &naming{}
	for _, field := range fields {
		field(named)
	}
	return &meterLog{l.meter, named.rule}
}

func (l *meterLog) Debug() debuglog.Event {
	if l.into == nil {
		return silent{}
	}
	return timing{log: l}
}

// silent is an event nobody wants.
type silent struct{}

func (silent) Msg(string)                                     {}
func (e silent) Str(string, string) debuglog.Event            { return e }
func (e silent) Err(error) debuglog.Event                     { return e }
func (e silent) Bool(string, bool) debuglog.Event             { return e }
func (e silent) Int(string, int) debuglog.Event               { return e }
func (e silent) Uint(string, uint) debuglog.Event             { return e }
func (e silent) Stringer(string, fmt.Stringer) debuglog.Event { return e }
func (silent) IsEnabled() bool                                { return false }

// naming reads the fields of a log.
type naming struct {
	silent
	rule int
}

func (e *naming) Int(key string, value int) debuglog.Event {
	if key == "rule_id" {
		e.rule = value
	}
	return e
}

// timing hears when a rule begins and ends.
type timing struct {
	silent
	log *meterLog
}

// IsEnabled lets Coraza name the rule.
func (timing) IsEnabled() bool { return true }

func (e timing) Msg(message string) {
	m := e.log.meter
	if m.into == nil || e.log.rule == 0 {
		return
	}
	switch message {
	case "Evaluating rule":
		if m.depth == 0 {
			m.began = time.Now()
		}
		m.depth++
	case "Finished rule evaluation":
		if m.depth--; m.depth == 0 {
			m.into[e.log.rule] += time.Since(m.began)
		}
	}
}
