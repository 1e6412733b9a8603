package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"aegis-coraza/waf"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func pluginConfiguration() ([]byte, error) {
	data, err := proxywasm.GetPluginConfiguration()
	if errors.Is(err, types.ErrorStatusNotFound) {
		return nil, nil
	}
	return data, err
}

// sitePolicy is the policy of the request's site; a host that has none gets the default one, which blocks.
func (p *plugin) sitePolicy() (*waf.Policy, error) {
	raw, err := proxywasm.GetProperty([]string{"aegis", "waf_policy_id"})
	if errors.Is(err, types.ErrorStatusNotFound) {
		if !p.told {
			p.told = true
			proxywasm.LogWarn("the host gives no aegis.waf_policy_id: the default policy counts")
		}
		return &p.fallback, nil
	}
	if err != nil {
		return nil, fmt.Errorf("aegis.waf_policy_id: %w", err)
	}
	if len(raw) != 8 {
		return nil, fmt.Errorf("aegis.waf_policy_id has %d bytes, not 8", len(raw))
	}
	return p.policies.Get(binary.LittleEndian.Uint64(raw), func() ([]byte, error) {
		return proxywasm.GetProperty([]string{"aegis", "waf_policy"})
	})
}

// requestHead reads a request's head as it was received. Pseudo-headers are the host's names for its parts.
func requestHead() (*waf.Head, error) {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		return nil, fmt.Errorf("request headers: %w", err)
	}
	h := &waf.Head{Headers: headers[:0]}
	for _, kv := range headers {
		switch kv[0] {
		case ":method":
			h.Method = kv[1]
		case ":path":
			h.Target = kv[1]
		case ":authority":
			h.Authority = kv[1]
		case ":scheme":
		default:
			h.Headers = append(h.Headers, kv)
		}
	}
	if h.Method == "" || (h.Target == "" && h.Method != "CONNECT") {
		return nil, errors.New("the host gives no method or no target")
	}
	if h.ID, err = property("request", "id"); err != nil {
		return nil, err
	}
	if h.Protocol, err = property("request", "protocol"); err != nil {
		return nil, err
	}
	if h.Source, err = address("source"); err != nil {
		return nil, err
	}
	if h.Destination, err = address("destination"); err != nil {
		return nil, err
	}
	return h, nil
}

func property(path ...string) (string, error) {
	raw, err := proxywasm.GetProperty(path)
	if err != nil {
		return "", fmt.Errorf("property %v: %w", path, err)
	}
	return string(raw), nil
}

func address(side string) (netip.AddrPort, error) {
	text, err := property(side, "address")
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s.address: %w", side, err)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// pieceBytes is how much of a body is fetched at once.
const pieceBytes = 64 << 10

// hostBody reads a body from where the host keeps it, piece by piece.
type hostBody struct {
	get   func(start, max int) ([]byte, error)
	size  int
	at    int
	piece []byte
}

func (b *hostBody) Read(p []byte) (int, error) {
	if len(b.piece) == 0 {
		if b.at >= b.size {
			return 0, io.EOF
		}
		piece, err := b.get(b.at, min(pieceBytes, b.size-b.at))
		if err != nil {
			return 0, fmt.Errorf("bytes %d to %d of the body: %w", b.at, b.size, err)
		}
		if len(piece) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		b.piece = piece
		b.at += len(piece)
	}
	n := copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}
