package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// asData is a site with settings of its own: its policy is data to the rules all sites share.
func asData() site {
	s := suiteSite()
	s.waf["paranoia"] = 3
	s.waf["inbound_threshold"] = 12
	s.waf["outbound_threshold"] = 8
	s.waf["exclude_rules"] = []int{920350, 932235, 941160, 942100, 953120}
	s.waf["exclude_targets"] = []string{
		"932230:ARGS", "933160:ARGS:x", "941100:ARGS:x", "941110:REQUEST_HEADERS:User-Agent", "942190:ARGS:var",
		"944100:REQUEST_BODY", "920272:REQUEST_HEADERS",
	}
	return s
}

// compiled says the same in SecLang.
func compiled() site {
	s := suiteSite()
	delete(s.waf, "paranoia")
	s.file("own-before.conf", `SecAction "id:1000001,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=3,setvar:tx.detection_paranoia_level=3,`+
		`setvar:tx.inbound_anomaly_score_threshold=12,setvar:tx.outbound_anomaly_score_threshold=8"`)
	s.file("own-after.conf", `SecRuleRemoveById 920350 932235 941160 942100 953120
SecRuleUpdateTargetById 932230 "!ARGS"
SecRuleUpdateTargetById 933160 "!ARGS:x"
SecRuleUpdateTargetById 941100 "!ARGS:x"
SecRuleUpdateTargetById 941110 "!REQUEST_HEADERS:User-Agent"
SecRuleUpdateTargetById 942190 "!ARGS:var"
SecRuleUpdateTargetById 944100 "!REQUEST_BODY"
SecRuleUpdateTargetById 920272 "!REQUEST_HEADERS"
`)
	s.waf["seclang_before"] = []string{"suite.conf", "own-before.conf"}
	s.waf["seclang"] = []string{"own-after.conf"}
	return s
}

// compare sends the same tests to both, and to the suite's own settings: the policy must have made a difference.
func (o *options) compare() error {
	origin, err := startOrigin()
	if err != nil {
		return err
	}
	var matched [3]map[string][][]uint
	for i, site := range []site{asData(), compiled(), suiteSite()} {
		// Running a test writes its expectation into it, so each run reads its own.
		chosen, err := o.choose()
		if err != nil {
			return err
		}
		state := *o
		if o.state != "" {
			state.state = filepath.Join(o.state, fmt.Sprint("policies-", i))
		}
		node, err := state.start(origin, site)
		if err != nil {
			return err
		}
		result, err := chosen.send(node, false)
		node.stop()
		if err != nil {
			return err
		}
		matched[i] = withoutMarkers(result.matched)
	}
	data, code, plain := matched[0], matched[1], matched[2]
	differ, changed := []string{}, 0
	for name, rules := range data {
		if !reflect.DeepEqual(rules, code[name]) {
			differ = append(differ, fmt.Sprintf("%s: %v as data, %v compiled", name, rules, code[name]))
		}
		if !reflect.DeepEqual(rules, plain[name]) {
			changed++
		}
	}
	slices.Sort(differ)
	for _, one := range differ {
		fmt.Fprintln(os.Stderr, one)
	}
	fmt.Fprintf(os.Stderr, "%d tests, of which the policy changed %d\n", len(data), changed)
	fmt.Printf("RESULT waf policy_differences %d tests\n", len(differ))
	switch {
	case len(differ) > 0 || len(data) != len(code):
		return fmt.Errorf("%d tests match other rules when the policy is compiled", len(differ))
	case changed < len(data)/10:
		return fmt.Errorf("the policy changes hardly anything: %d of %d", changed, len(data))
	}
	return nil
}

// withoutMarkers takes out the rule of the marks: one that was sent twice stands once among a test's lines.
func withoutMarkers(matched map[string][][]uint) map[string][][]uint {
	for _, stages := range matched {
		for i := range stages {
			stages[i] = slices.DeleteFunc(stages[i], func(id uint) bool { return id == markerRule })
		}
	}
	return matched
}
