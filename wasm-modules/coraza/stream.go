package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"aegis-coraza/waf"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// stream is one request and its response.
type stream struct {
	types.DefaultHttpContext
	plugin  *plugin
	session *waf.Session
	policy  *waf.Policy
	// head is kept for the tail.
	head *waf.Head
	// tail judges a body of which the beginning has gone on.
	tail *waf.Tail
	// answered: a local response was sent; nothing more is judged.
	answered bool
	// requestJudged: phase 2 has run.
	requestJudged bool
	// inspectBody: the response's body is wanted.
	inspectBody bool
	// responseRead is how much of the response's body, which the host holds, has been fed.
	responseRead int
}

// OnHttpRequestHeaders judges the head, and the whole request when it has no body.
func (s *stream) OnHttpRequestHeaders(_ int, end bool) types.Action {
	policy, err := s.plugin.sitePolicy()
	must(err)
	head, err := requestHead()
	must(err)
	session, v, err := s.plugin.engine.Begin(head, policy)
	must(err)
	s.session, s.policy, s.head = session, policy, head
	if s.settle(v) {
		return types.ActionPause
	}
	if !end {
		// Nothing goes on before the body is judged.
		return types.ActionPause
	}
	return s.judged(session.NoRequestBody())
}

// OnHttpRequestBody judges the body, for which all of it must be there. A site that lets longer bodies pass gets what
// the host holds judged, and what follows while it passes.
func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	if s.answered || s.requestJudged {
		return types.ActionContinue
	}
	body := &hostBody{get: proxywasm.GetHttpRequestBody, size: size}
	if s.tail != nil {
		return s.more(body, end)
	}
	if end {
		return s.judged(s.session.RequestBody(body, int64(size)))
	}
	if !s.policy.LetsPartsPass() {
		return types.ActionPause
	}
	v, tail, err := s.session.RequestBodyPart(s.plugin.engine, s.head, body, int64(size))
	must(err)
	s.tail = tail
	if s.settle(v) {
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) more(body *hostBody, end bool) types.Action {
	v, err := s.tail.More(body, end)
	must(err)
	s.requestJudged = end
	if s.settle(v) {
		return types.ActionPause
	}
	return types.ActionContinue
}

// OnHttpRequestTrailers ends a body that did not say it ends.
func (s *stream) OnHttpRequestTrailers(int) types.Action {
	if s.answered || s.requestJudged {
		return types.ActionContinue
	}
	if s.tail != nil {
		return s.more(&hostBody{}, true)
	}
	return s.judged(s.session.NoRequestBody())
}

func (s *stream) judged(v waf.Verdict, err error) types.Action {
	must(err)
	s.requestJudged = true
	if s.settle(v) {
		return types.ActionPause
	}
	return types.ActionContinue
}

// OnHttpResponseHeaders judges the response's head.
func (s *stream) OnHttpResponseHeaders(_ int, end bool) types.Action {
	if s.answered || s.session == nil {
		return types.ActionContinue
	}
	headers, err := proxywasm.GetHttpResponseHeaders()
	must(err)
	status, plain, err := responseStatus(headers)
	must(err)
	protocol, err := property("request", "protocol")
	must(err)
	v, more, err := s.session.ResponseHeaders(status, protocol, plain, end)
	must(err)
	s.inspectBody = more
	if s.settle(v) {
		return types.ActionPause
	}
	return types.ActionContinue
}

// responseStatus takes `:status` out of the headers, or asks the property when the host has no pseudo-headers.
func responseStatus(headers [][2]string) (int, [][2]string, error) {
	plain, status := headers[:0], ""
	for _, kv := range headers {
		if kv[0] == ":status" {
			status = kv[1]
			continue
		}
		plain = append(plain, kv)
	}
	if status != "" {
		n, err := strconv.Atoi(status)
		return n, plain, err
	}
	raw, err := proxywasm.GetProperty([]string{"response", "code"})
	if err != nil || len(raw) != 8 {
		return 0, nil, errors.Join(errors.New("the host gives no response status"), err)
	}
	return int(binary.LittleEndian.Uint64(raw)), plain, nil
}

// OnHttpResponseBody judges the response's body, or the beginning of it that is inspected; until then the host holds
// it. A block here can only cut it.
func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	if s.answered || !s.inspectBody {
		return types.ActionContinue
	}
	v, judged, err := s.session.ResponseBody(&hostBody{get: proxywasm.GetHttpResponseBody, at: s.responseRead, size: size}, end)
	must(err)
	s.responseRead = size
	if s.settle(v) || !judged {
		return types.ActionPause
	}
	s.inspectBody = false
	return types.ActionContinue
}

// OnHttpStreamDone runs the logging phase and gives the transaction back.
func (s *stream) OnHttpStreamDone() {
	if s.tail != nil {
		must(s.tail.Abort())
	}
	if s.session != nil {
		event, err := s.session.End()
		must(err)
		tell(waf.Verdict{Event: event})
		tell(waf.Verdict{Event: s.session.Costs()})
		s.session = nil
	}
}

// settle tells what there is to tell and answers when there is an answer; true means the request ends here.
func (s *stream) settle(v waf.Verdict) bool {
	tell(v)
	if v.Status == 0 {
		return false
	}
	s.answered = true
	answer(v)
	return true
}

// must fails closed: the panic ends this instance, and the host answers as the site's on_error says.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("waf: %v", err))
	}
}
