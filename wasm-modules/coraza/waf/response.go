package waf

import (
	"errors"
	"fmt"
	"io"
)

type responseState struct {
	fed    int64
	judged bool
}

// ResponseHeaders judges a response's head (phase 3). More says whether ResponseBody is to be called; if not, phase 4
// has been judged too, without a body.
func (s *Session) ResponseHeaders(status int, protocol string, headers [][2]string, end bool) (v Verdict, more bool, err error) {
	if s.policy.Response == ResponseOff {
		return Verdict{}, false, nil
	}
	for _, kv := range headers {
		s.tx.AddResponseHeader(kv[0], kv[1])
	}
	s.measured()
	s.tx.ProcessResponseHeaders(status, protocol)
	if v, blocked := s.interrupted(3); blocked {
		return v, false, nil
	}
	if !end && s.tx.IsResponseBodyAccessible() && s.tx.IsResponseBodyProcessable() {
		return s.passed(3), true, nil
	}
	v, err = s.judgeResponse()
	return v, false, err
}

// ResponseBody takes the next piece of a response body, up to what the policy inspects, and judges at its end or there.
// Until it is judged nothing of it may go on.
func (s *Session) ResponseBody(from io.Reader, end bool) (v Verdict, judged bool, err error) {
	if s.response.judged {
		return Verdict{}, true, nil
	}
	piece := make([]byte, pieceBytes)
	for {
		n, err := from.Read(piece)
		if err != nil && !errors.Is(err, io.EOF) {
			return Verdict{}, false, fmt.Errorf("reading the response body: %w", err)
		}
		n = int(min(int64(n), s.policy.ResponseMax-s.response.fed))
		if _, _, werr := s.tx.WriteResponseBody(piece[:n]); werr != nil {
			return Verdict{}, false, fmt.Errorf("feeding the response body: %w", werr)
		}
		s.response.fed += int64(n)
		if s.response.fed >= s.policy.ResponseMax {
			break
		}
		if err != nil {
			break
		}
	}
	if !end && s.response.fed < s.policy.ResponseMax {
		return Verdict{}, false, nil
	}
	v, err = s.judgeResponse()
	return v, true, err
}

func (s *Session) judgeResponse() (Verdict, error) {
	s.response.judged = true
	s.measured()
	if _, err := s.tx.ProcessResponseBody(); err != nil {
		return Verdict{}, fmt.Errorf("response body: %w", err)
	}
	if v, blocked := s.interrupted(4); blocked {
		return v, nil
	}
	return s.passed(4), nil
}
