//go:build wasip1

package main

import (
	"fmt"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// twoAnswers: the first one counts.
func twoAnswers() types.Action {
	headers, h := at(pairs([2]string{"content-type", "text/plain"}, [2]string{"x-probe", "yes"}))
	why, w := at("teapot")
	first, f := at("short and stout")
	proxySendLocalResponse(418, why, w, first, f, headers, h, -1)
	second, s := at("second")
	proxySendLocalResponse(500, why, w, second, s, headers, h, -1)
	return types.ActionPause
}

// call is /t/call?pool=…: text when the call was refused, nothing when an answer will come.
func (s *stream) call() (string, bool) {
	_, err := proxywasm.DispatchHttpCall(s.query["pool"], [][2]string{
		{":method", "POST"}, {":path", "/asked"}, {":authority", "auth.example"}, {"x-from", "probe"},
	}, []byte("question"), [][2]string{{"x-end", "1"}}, 5000, s.called)
	return fmt.Sprintf("call: %d\n", status(err)), err != nil
}

func (s *stream) called(headers, size, trailers int) {
	l := &lines{}
	l.say("sizes", headers, size, trailers)
	fields, _ := proxywasm.GetHttpCallResponseHeaders()
	code := ""
	for _, f := range fields {
		l.say("field", f[0]+"="+f[1])
		if f[0] == ":status" {
			code = f[1]
		}
	}
	body, _ := proxywasm.GetHttpCallResponseBody(0, size)
	l.say("body", string(body))
	ends, _ := proxywasm.GetHttpCallResponseTrailers()
	for _, f := range ends {
		l.say("trailer", f[0]+"="+f[1])
	}
	if s.query["then"] == "continue" {
		_ = proxywasm.ReplaceHttpRequestHeader("x-called", code)
		_ = proxywasm.ResumeHttpRequest()
		return
	}
	s.answer(l.String())
}

// contexts acts for the root context and comes back.
func contexts(own, root uint32) string {
	l := &lines{}
	var size uint32
	l.say("root", proxySetEffectiveContext(root))
	l.say("its request", proxyGetHeaderMapSize(0, &size))
	l.say("own", proxySetEffectiveContext(own))
	l.say("own request", proxyGetHeaderMapSize(0, &size))
	l.say("no such context", proxySetEffectiveContext(424_242))
	return l.String()
}

func foreign(l *lines) {
	call := func(name, argument string) uint32 {
		var result unsafe.Pointer
		var length int32
		p, n := at(name)
		a, m := at(argument)
		return proxyCallForeignFunction(p, n, a, m, unsafe.Pointer(&result), &length)
	}
	l.say("no such function", call("nope", ""))
	l.say("event", call("aegis_waf_event", `{"action":"detect"}`))
	l.say("done", proxyDone())
}

func grpc(l *lines) {
	x, _ := at("x")
	none, n := at(pairs())
	var token uint32
	l.say("call", proxyGrpcCall(x, 1, x, 1, x, 1, none, n, x, 1, 100, &token))
	l.say("stream", proxyGrpcStream(x, 1, x, 1, x, 1, none, n, &token))
	l.say("send", proxyGrpcSend(1, x, 1, 1))
	l.say("cancel", proxyGrpcCancel(1))
	l.say("close", proxyGrpcClose(1))
	code, length := uint32(99), int32(0)
	var message unsafe.Pointer
	l.say("status", proxyGetStatus(&code, unsafe.Pointer(&message), &length))
	l.say("code", code, length)
}
