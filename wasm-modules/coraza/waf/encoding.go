package waf

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
)

var (
	errRatio  = errors.New("expands more than the ratio allows")
	errCoding = errors.New("is not what its Content-Encoding says")
)

// codings returns the content codings of a request, without identity, in the order they were applied.
func codings(headers [][2]string) []string {
	var out []string
	for _, h := range headers {
		if !strings.EqualFold(h[0], "content-encoding") {
			continue
		}
		for c := range strings.SplitSeq(h[1], ",") {
			if c = strings.ToLower(strings.TrimSpace(c)); c != "" && c != "identity" {
				out = append(out, c)
			}
		}
	}
	return out
}

// readable says whether decode knows these codings: one of gzip and deflate.
func readable(codings []string) bool {
	if len(codings) != 1 {
		return false
	}
	switch codings[0] {
	case "gzip", "x-gzip", "deflate":
		return true
	}
	return false
}

// decode reads a compressed body, at most ratio times as long as what it was made from; compressed is its length, or
// negative when more of it will come.
func decode(coding string, from io.Reader, compressed, ratio int64) (io.Reader, error) {
	in := &counted{from: from}
	buffered := bufio.NewReader(in)
	var (
		r   io.Reader
		err error
	)
	if coding == "deflate" {
		r, err = zlib.NewReader(buffered)
	} else {
		r, err = gzip.NewReader(buffered)
	}
	if err != nil {
		if in.err != nil {
			return nil, in.err
		}
		return nil, errCoding
	}
	return &expanding{r: r, rest: buffered, in: in, compressed: compressed, ratio: ratio}, nil
}

type counted struct {
	from io.Reader
	n    int64
	err  error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

type expanding struct {
	r                 io.Reader
	rest              *bufio.Reader
	in                *counted
	n                 int64
	compressed, ratio int64
}

func (e *expanding) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.n += int64(n)
	from := e.compressed
	if from < 0 {
		from = e.in.n
	}
	if e.n > from*e.ratio {
		return 0, errRatio
	}
	switch {
	case err == nil:
		return n, nil
	case e.in.err != nil:
		return n, e.in.err
	case !errors.Is(err, io.EOF):
		return n, errCoding
	}
	// An origin might read what follows the compressed stream.
	if _, after := e.rest.ReadByte(); after == nil {
		return n, errCoding
	}
	return n, io.EOF
}
