package waf

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestEveryRuleOfAMeasuredRequestIsTimedAndOfOthersNone(t *testing.T) {
	run := func(every int) []byte {
		s, v, err := engine(t).Begin(head("GET", "/?q=1%27%20or%201%3D1--"), policy(t, fmt.Sprintf(`{"measure_every":%d}`, every)))
		if err != nil || v.Status != 0 {
			t.Fatal(v, err)
		}
		if v, err = s.NoRequestBody(); err != nil || v.Status != 403 {
			t.Fatal(v, err)
		}
		if _, err = s.End(); err != nil {
			t.Fatal(err)
		}
		return s.Costs()
	}
	var told struct {
		Action string
		Costs  [][2]int64
	}
	if err := json.Unmarshal(run(1), &told); err != nil {
		t.Fatal(err)
	}
	costs := map[int64]int64{}
	for _, one := range told.Costs {
		costs[one[0]] = one[1]
	}
	if told.Action != "costs" || len(costs) < 200 || costs[942100] <= 0 || costs[949110] <= 0 {
		t.Fatalf("%d rules, 942100: %d ns, 949110: %d ns", len(costs), costs[942100], costs[949110])
	}
	if got := run(0); got != nil {
		t.Fatalf("a request that is not measured told %s", got)
	}
}
