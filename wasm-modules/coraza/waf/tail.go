package waf

import (
	"errors"
	"fmt"
	"io"
)

// A body longer than the host holds is judged twice, for sites that let such bodies pass: what is held is judged at
// once, so that it can go on, and a second transaction, the tail, reads everything from the first byte as it passes and
// judges at the end. Only the tail sees what follows; its block cuts the request.

// Tail judges a body while it passes.
type Tail struct {
	to      *io.PipeWriter
	outcome chan tailOutcome
	got     *tailOutcome
	// told: the first judgement wrote an event; an unchanged one is not written again.
	told bool
}

type tailOutcome struct {
	v   Verdict
	err error
}

// LetsPartsPass says whether a body may be judged in parts; if not, all of it must be there first.
func (p *Policy) LetsPartsPass() bool {
	return p.Mode == Detect || p.OverLimit == Stream
}

// RequestBodyPart judges the beginning of a body, as far as the host holds it. The tail is for what follows; it is nil
// when the verdict is an answer.
func (s *Session) RequestBodyPart(e *Engine, h *Head, from io.Reader, length int64) (Verdict, *Tail, error) {
	second, v, err := e.Begin(h, s.policy)
	if err != nil || v.Status != 0 {
		return v, nil, errors.Join(err, second.drop())
	}
	out, in := io.Pipe()
	t := &Tail{to: in, outcome: make(chan tailOutcome, 1)}
	go func() {
		v, err := second.RequestBody(out, unknownLength)
		// Whoever still writes must not wait.
		err = errors.Join(err, second.drop())
		_ = out.Close()
		t.outcome <- tailOutcome{v, err}
	}()

	s.partly = &partly{413, fmt.Sprintf("a body of more than the %d bytes that are held: judged as it passes", length)}
	s.markCut()
	through := &passing{from: from, to: in}
	v, err = s.RequestBody(through, unknownLength)
	if err == nil {
		err = through.rest()
	}
	if err != nil || v.Status != 0 {
		return v, nil, errors.Join(err, t.Abort())
	}
	t.told = v.Event != nil
	return v, t, nil
}

// More takes what follows; at its end it judges.
func (t *Tail) More(from io.Reader, end bool) (Verdict, error) {
	if err := (&passing{from: from, to: t.to}).rest(); err != nil {
		return Verdict{}, errors.Join(err, t.Abort())
	}
	if !end {
		return Verdict{}, nil
	}
	_ = t.to.Close()
	o := t.wait()
	if o.err == nil && o.v.Status == 0 && t.told {
		o.v.Event = nil
	}
	return o.v, o.err
}

// Abort ends a tail whose body will not.
func (t *Tail) Abort() error {
	_ = t.to.CloseWithError(errAborted)
	if err := t.wait().err; err != nil && !errors.Is(err, errAborted) {
		return err
	}
	return nil
}

func (t *Tail) wait() tailOutcome {
	if t.got == nil {
		o := <-t.outcome
		t.got = &o
	}
	return *t.got
}

var errAborted = errors.New("the body did not end")

// passing reads a body and lets the tail read the same; the tail may stop reading before the end.
type passing struct {
	from io.Reader
	to   *io.PipeWriter
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	if n > 0 {
		if _, werr := p.to.Write(b[:n]); werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
			return n, werr
		}
	}
	return n, err
}

// rest reads what the first reader left.
func (p *passing) rest() error {
	piece := make([]byte, pieceBytes)
	for {
		if _, err := p.Read(piece); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the request body: %w", err)
		}
	}
}
