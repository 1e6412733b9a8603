package main

import (
	"fmt"

	"aegis-coraza/waf"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
)

// eventFunction is the host's function for what matched.
const eventFunction = "aegis_waf_event"

// tell gives an event to the host. A host without the function gets it in its log; a verdict stands either way.
func tell(v waf.Verdict) {
	if v.Event == nil {
		return
	}
	if _, err := proxywasm.CallForeignFunction(eventFunction, v.Event); err != nil {
		proxywasm.LogWarn(string(v.Event))
	}
}

// answer sends the local response of a verdict.
func answer(v waf.Verdict) {
	var headers [][2]string
	if v.Location != "" {
		headers = [][2]string{{"location", v.Location}}
	}
	if err := sendLocalResponse(v.Status, v.Details, headers); err != nil {
		panic(fmt.Sprintf("sending the answer: %v", err))
	}
}
