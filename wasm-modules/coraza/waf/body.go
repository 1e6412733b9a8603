package waf

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// pieceBytes is how much of a body is in memory between the host and Coraza.
const pieceBytes = 64 << 10

// unknownLength is that of a body of which more may come.
const unknownLength = -1

// RequestBody judges a whole request body (phase 2) of `length` bytes, read in pieces from where the host keeps it.
func (s *Session) RequestBody(from io.Reader, length int64) (Verdict, error) {
	if length == 0 {
		return s.judgeRequest()
	}
	var body io.Reader = readTrap{from, &s.bodyErr}
	if len(s.codings) > 0 {
		if !s.canDecode() {
			// Only detect mode comes here: what cannot be read is not judged, and Begin has told so.
			return s.judgeRequest()
		}
		plain, err := decode(s.codings[0], body, length, s.policy.RatioMax)
		if err != nil {
			if v, stop, err := s.unreadable(err); stop {
				return v, err
			}
			return s.judgeRequest()
		}
		body = plain
	}
	if strings.EqualFold(s.tx.Variables().RequestBodyProcessor().Get(), "multipart") {
		return s.multipart(body)
	}
	return s.text(body, length)
}

// unreadable answers a compressed body that is malformed or expands too far; other errors are the host's.
func (s *Session) unreadable(err error) (v Verdict, stop bool, _ error) {
	enforced := s.policy.Mode == Block
	switch {
	case errors.Is(err, errRatio):
		v, stop = s.limit(2, 413, DetailsLimit, fmt.Sprintf("compressed body expands more than %d times", s.policy.RatioMax), enforced)
	case errors.Is(err, errCoding):
		v, stop = s.limit(2, 400, DetailsEncoding, "body is not what its Content-Encoding says", enforced)
	default:
		return Verdict{}, true, fmt.Errorf("reading the request body: %w", err)
	}
	return v, stop, nil
}

// text feeds Coraza's buffer up to the limit and judges.
func (s *Session) text(body io.Reader, length int64) (Verdict, error) {
	if length == unknownLength {
		length = pieceBytes
	}
	piece := make([]byte, min(pieceBytes, length+1, s.policy.TextMax+1))
	for fed := int64(0); ; {
		n, err := body.Read(piece)
		if err != nil && !errors.Is(err, io.EOF) {
			if v, stop, err := s.unreadable(err); stop {
				return v, err
			}
		}
		more := fed+int64(n) > s.policy.TextMax
		if more {
			n = int(s.policy.TextMax - fed)
		}
		if it, _, werr := s.tx.WriteRequestBody(piece[:n]); werr != nil {
			return Verdict{}, fmt.Errorf("feeding the request body: %w", werr)
		} else if it != nil {
			v, _ := s.interrupted(2)
			return v, nil
		}
		fed += int64(n)
		if more {
			if v, stop := s.overLimit(); stop {
				return v, nil
			}
			break
		}
		if err != nil {
			break
		}
	}
	return s.judgeRequest()
}

// multipart lets Coraza's processor read the body itself.
func (s *Session) multipart(body io.Reader) (Verdict, error) {
	var answer *Verdict
	var bad error
	ticket, take := issue(&multipartBody{
		from:    readTrap{body, &bad},
		textMax: s.policy.TextMax,
		atLimit: func() error {
			if v, stop := s.overLimit(); stop {
				answer = &v
				// Nothing of it will be used: no rule need run.
				s.tx.Interrupt(&types.Interruption{Action: "deny", Status: v.Status})
				return errTextLimit
			}
			return io.EOF
		},
	})
	defer take()
	if it, _, err := s.tx.WriteRequestBody(ticket); err != nil || it != nil {
		return Verdict{}, errors.Join(errors.New("the body buffer is too small for a ticket"), err)
	}
	v, err := s.judgeRequest()
	if bad != nil && s.bodyErr == nil {
		if u, stop, uerr := s.unreadable(bad); stop {
			return u, uerr
		}
	}
	if answer != nil && err == nil {
		return *answer, nil
	}
	return v, err
}

// overLimit decides about a body with more text than is inspected: answer now, or judge what there is.
func (s *Session) overLimit() (Verdict, bool) {
	message := fmt.Sprintf("more than %d bytes of text in the body", s.policy.TextMax)
	enforced := s.policy.Mode == Block && s.policy.OverLimit == Reject
	if !enforced {
		s.markCut()
	}
	return s.limit(2, 413, DetailsLimit, message, enforced)
}

// markCut says that the body Coraza gets is not whole, so that its end is taken for an end and not for an error.
func (s *Session) markCut() {
	// Coraza's own mark, which its multipart processor knows.
	if set, ok := s.tx.Variables().InboundDataError().(interface{ Set(string) }); ok {
		set.Set("1")
	}
	// A text cut short may not parse; that is the cut's doing, not the client's.
	s.tx.RemoveRuleByID(ruleBodyError)
}
