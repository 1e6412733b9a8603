//go:build wasip1

// Tries every host function, driven by the request's path, and tells what it saw: a teaching example, and what the
// host's tests ask.
//
//   - /t/<probe>: a local response with one line for each thing seen;
//   - /h/edit, /h/set: changes the request's header fields and goes on;
//   - /b/keep, /b/prepend, /b/append, /b/replace: reads the body, changes it and goes on;
//   - /r/…: marks the response's head, body and trailers;
//   - /x/<callback>/<kind>: does harm of this kind in this callback.
//
// wasm-modules/examples/rust/hostcalls does the same in Rust, to the letter.
package main

import (
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(id uint32) types.PluginContext { return &root{id: id} })
}

type root struct {
	types.DefaultPluginContext
	id    uint32
	ticks int
}

// OnPluginStart asks for ticks when the configuration says so.
func (r *root) OnPluginStart(int) types.OnPluginStartStatus {
	if config, err := proxywasm.GetPluginConfiguration(); err == nil && string(config) == "tick" {
		if err := proxywasm.SetTickPeriodMilliSeconds(10); err != nil {
			return types.OnPluginStartStatusFailed
		}
	}
	return types.OnPluginStartStatusOK
}

// OnTick counts to three where every context can read it, and stops the clock.
func (r *root) OnTick() {
	r.ticks++
	_ = proxywasm.SetSharedData("ticks", fmt.Append(nil, r.ticks), 0)
	if r.ticks == 3 {
		_ = proxywasm.SetTickPeriodMilliSeconds(0)
	}
}

// OnQueueReady takes what a stream put in.
func (r *root) OnQueueReady(queue uint32) {
	if item, err := proxywasm.DequeueSharedQueue(queue); err == nil {
		_ = proxywasm.SetSharedData("taken by the root", item, 0)
	}
}

// NewHttpContext begins one request.
func (r *root) NewHttpContext(id uint32) types.HttpContext { return &stream{id: id, root: r} }

type stream struct {
	types.DefaultHttpContext
	id    uint32
	root  *root
	path  string
	query map[string]string
}

func (s *stream) under(prefix string) (string, bool) { return strings.CutPrefix(s.path, prefix) }

func (s *stream) parse(target string) {
	var query string
	s.path, query, _ = strings.Cut(target, "?")
	s.query = map[string]string{}
	for p := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(p, "=")
		s.query[name] = value
	}
}

func (s *stream) answer(text string) types.Action {
	if err := proxywasm.SendHttpResponse(200, [][2]string{{"content-type", "text/plain"}}, []byte(text), -1); err != nil {
		panic(err)
	}
	return types.ActionPause
}

func (s *stream) harmIn(callback string) {
	if kind, ok := s.under("/x/" + callback); ok {
		harm(kind)
	}
}

// OnHttpStreamDone may do harm.
func (s *stream) OnHttpStreamDone() { s.harmIn("done/") }

// OnHttpRequestHeaders runs the probe.
func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	target, _ := proxywasm.GetHttpRequestHeader(":path")
	s.parse(target)
	s.harmIn("request_headers/")
	switch s.path {
	case "/h/edit":
		_ = proxywasm.AddHttpRequestHeader("x-added", "1")
		_ = proxywasm.ReplaceHttpRequestHeader("x-probe", "replaced")
		_ = proxywasm.RemoveHttpRequestHeader("x-gone")
	case "/h/set":
		_ = proxywasm.ReplaceHttpRequestHeaders([][2]string{{"host", "shop.example"}, {"x-only", "this"}})
	}
	probe, ok := s.under("/t/")
	if !ok {
		return types.ActionContinue
	}
	switch probe {
	case "call":
		if text, refused := s.call(); refused {
			return s.answer(text)
		}
		return types.ActionPause
	case "answer":
		return twoAnswers()
	case "close":
		proxyCloseStream(0)
		return types.ActionPause
	case "context":
		return s.answer(contexts(s.id, s.root.id))
	}
	return s.answer(s.run(probe))
}

// OnHttpRequestBody reads the body in pieces and changes it.
func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	s.harmIn("request_body/")
	what, ok := s.under("/b/")
	if !ok {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause
	}
	var length, flags uint32
	status := proxyGetBufferStatus(0, &length, &flags)
	first, _ := proxywasm.GetHttpRequestBody(0, 5)
	rest, _ := proxywasm.GetHttpRequestBody(5, 1<<20)
	_ = proxywasm.ReplaceHttpRequestHeader("x-body", fmt.Sprintf("%d %d %d %s|%s", status, size, length, first, rest))
	switch what {
	case "prepend":
		_ = proxywasm.PrependHttpRequestBody([]byte("<"))
	case "append":
		_ = proxywasm.AppendHttpRequestBody([]byte(">"))
	case "replace":
		_ = proxywasm.ReplaceHttpRequestBody([]byte("new"))
	}
	return types.ActionContinue
}

// OnHttpRequestTrailers notes them in a header field.
func (s *stream) OnHttpRequestTrailers(count int) types.Action {
	first, _ := proxywasm.GetHttpRequestTrailer("x-trailer")
	_ = proxywasm.ReplaceHttpRequestHeader("x-trailers", fmt.Sprintf("%d %s", count, first))
	return types.ActionContinue
}

// OnHttpResponseHeaders marks the head.
func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	s.harmIn("response_headers/")
	if _, ok := s.under("/r/"); ok {
		status, _ := proxywasm.GetHttpResponseHeader(":status")
		code, _ := proxywasm.GetProperty([]string{"response", "code"})
		_ = proxywasm.AddHttpResponseHeader("x-seen", fmt.Sprintf("%s %d", status, append(code, 0)[0]))
	}
	return types.ActionContinue
}

// OnHttpResponseBody puts the body in brackets.
func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	s.harmIn("response_body/")
	if _, ok := s.under("/r/"); !ok {
		return types.ActionContinue
	}
	if !end {
		return types.ActionPause
	}
	body, _ := proxywasm.GetHttpResponseBody(0, size)
	_ = proxywasm.ReplaceHttpResponseBody(fmt.Appendf(nil, "<%s>", body))
	return types.ActionContinue
}

// OnHttpResponseTrailers adds one.
func (s *stream) OnHttpResponseTrailers(int) types.Action {
	if _, ok := s.under("/r/"); ok {
		_ = proxywasm.AddHttpResponseTrailer("x-more", "trailer")
	}
	return types.ActionContinue
}
