// Command cases writes what the tests of the plugin host hold the module in the sandbox to: what Coraza says natively.
//
// `cases suite` writes a line of JSON for each stage of the Core Rule Set's regression suite: the request, the response,
// and the events they make. `cases rx` writes one for each pattern of the rules, and for many others: what it is for the
// host, and random values with the groups that Go's engine finds in them. Bytes are in hexadecimal.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	write := json.NewEncoder(out).Encode
	err := fmt.Errorf("usage: cases suite | cases rx [SEED]")
	switch {
	case len(os.Args) == 2 && os.Args[1] == "suite":
		err = writeSuite(write)
	case len(os.Args) >= 2 && os.Args[1] == "rx":
		seed := uint64(1)
		if err = nil; len(os.Args) > 2 {
			seed, err = strconv.ParseUint(os.Args[2], 10, 64)
		}
		if err == nil {
			err = writePatterns(seed, write)
		}
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

// hexed is a text that may hold any bytes.
type hexed string

// MarshalText writes hexadecimal digits.
func (h hexed) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString([]byte(h))), nil }

func hexedPairs(pairs [][2]string) [][2]hexed {
	out := make([][2]hexed, 0, len(pairs))
	for _, p := range pairs {
		out = append(out, [2]hexed{hexed(p[0]), hexed(p[1])})
	}
	return out
}
