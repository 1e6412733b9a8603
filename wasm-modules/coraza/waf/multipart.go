package waf

import (
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"sync"
	"sync/atomic"
	_ "unsafe" // go:linkname

	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Coraza collects a whole body in its buffer before its multipart processor splits it and throws the file contents
// away. Here the same processor reads the body from where it is: Coraza's buffer gets a ticket, and the processor
// registered in place of "multipart" hands Coraza's own one the reader which the ticket stands for. The split, the
// part heads and every FILES_* and MULTIPART_* variable are therefore Coraza's.

// Coraza registers its processors in an internal package and has no public way to ask for one; a copy of its
// security-sensitive reading of Content-Disposition would miss its fixes. A Coraza without this function fails to link.
//
//go:linkname corazaBodyProcessor github.com/corazawaf/coraza/v3/internal/bodyprocessors.GetBodyProcessor
func corazaBodyProcessor(name string) (plugintypes.BodyProcessor, error)

func init() {
	original, err := corazaBodyProcessor("multipart")
	if err != nil {
		panic("coraza has no multipart body processor: " + err.Error())
	}
	plugins.RegisterBodyProcessor("multipart", func() plugintypes.BodyProcessor { return streamed{original} })
}

type streamed struct{ coraza plugintypes.BodyProcessor }

func (s streamed) ProcessRequest(ticket io.Reader, v plugintypes.TransactionVariables, o plugintypes.BodyProcessorOptions) error {
	body, err := redeem(ticket)
	if err != nil {
		return err
	}
	if _, params, err := mime.ParseMediaType(o.Mime); err == nil {
		body.meter = newTextMeter(params["boundary"])
	}
	err = s.coraza.ProcessRequest(body, v, o)
	return body.finish(err)
}

func (s streamed) ProcessResponse(r io.Reader, v plugintypes.TransactionVariables, o plugintypes.BodyProcessorOptions) error {
	return s.coraza.ProcessResponse(r, v, o)
}

var tickets struct {
	sync.Mutex
	next uint64
	body map[uint64]*multipartBody
}

// issue returns the bytes that stand for a body in Coraza's buffer, and what takes them back.
func issue(b *multipartBody) ([]byte, func()) {
	tickets.Lock()
	defer tickets.Unlock()
	if tickets.body == nil {
		tickets.body = make(map[uint64]*multipartBody)
	}
	tickets.next++
	id := tickets.next
	tickets.body[id] = b
	return binary.LittleEndian.AppendUint64(nil, id), func() {
		tickets.Lock()
		defer tickets.Unlock()
		delete(tickets.body, id)
	}
}

func redeem(ticket io.Reader) (*multipartBody, error) {
	var raw [8]byte
	if _, err := io.ReadFull(ticket, raw[:]); err != nil {
		return nil, errors.New("no body behind the multipart ticket")
	}
	tickets.Lock()
	defer tickets.Unlock()
	b, ok := tickets.body[binary.LittleEndian.Uint64(raw[:])]
	if !ok {
		return nil, errors.New("unknown multipart ticket")
	}
	return b, nil
}

var errTextLimit = errors.New("more text than is inspected")

// multipartBody is the body as Coraza's processor reads it: up to textMax of what is not file content.
type multipartBody struct {
	from    io.Reader
	textMax int64
	// atLimit is called once, when there is more text; it says what the processor sees then.
	atLimit func() error
	meter   *textMeter
	ended   error
	limited bool
}

func (b *multipartBody) Read(p []byte) (int, error) {
	if b.ended != nil {
		return 0, b.ended
	}
	n, err := b.from.Read(p)
	if b.meter != nil {
		b.meter.write(p[:n])
		if b.meter.over(b.textMax) {
			b.limited = true
			b.ended = b.atLimit()
			if !errors.Is(b.ended, io.EOF) {
				return 0, b.ended
			}
			// The piece that went over the limit also holds what was below it.
			return n, nil
		}
	}
	if err != nil {
		b.ended = err
	}
	return n, err
}

// finish judges the text that the meter had not counted yet when it was last asked.
func (b *multipartBody) finish(err error) error {
	if b.meter == nil {
		return err
	}
	b.meter.close()
	if !b.limited && b.meter.over(b.textMax) {
		b.limited = true
		if at := b.atLimit(); !errors.Is(at, io.EOF) {
			return at
		}
	}
	return err
}

// textMeter tells text (heads and fields) from file contents, by running the parser of Coraza's processor over the
// same bytes. It decides nothing but when to stop; what it takes for text that Coraza takes for a file only stops sooner.
type textMeter struct {
	in    *io.PipeWriter
	done  chan struct{}
	seen  int64
	files atomic.Int64
	text  atomic.Int64
}

// meterSlack is more than the bytes that parsers hold between seeing and counting them.
const meterSlack = 16 << 10

func newTextMeter(boundary string) *textMeter {
	out, in := io.Pipe()
	m := &textMeter{in: in, done: make(chan struct{})}
	go m.run(out, boundary)
	return m
}

func (m *textMeter) run(from *io.PipeReader, boundary string) {
	defer close(m.done)
	parts := multipart.NewReader(from, boundary)
	for {
		p, err := parts.NextPart()
		if err != nil {
			break
		}
		for name, values := range p.Header {
			for _, v := range values {
				m.text.Add(int64(len(name) + len(v) + 4))
			}
		}
		into := &m.text
		if p.FileName() != "" {
			into = &m.files
		}
		if _, err := io.Copy(counter{into}, p); err != nil {
			break
		}
	}
	// The rest is not split any more: whoever writes must not wait.
	if _, err := io.Copy(io.Discard, from); err != nil {
		from.CloseWithError(err)
	}
}

func (m *textMeter) write(p []byte) {
	m.seen += int64(len(p))
	if len(p) > 0 {
		// Only fails once closed, and it is closed after the last read.
		_, _ = m.in.Write(p)
	}
}

// over also bounds what no finished field shows yet: a head or a field that does not end.
func (m *textMeter) over(limit int64) bool {
	return m.text.Load() > limit || m.seen-m.files.Load() > limit+meterSlack
}

func (m *textMeter) close() {
	_ = m.in.Close()
	<-m.done
}

type counter struct{ to *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.to.Add(int64(len(p)))
	return len(p), nil
}
