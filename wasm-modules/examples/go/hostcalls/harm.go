//go:build wasip1

package main

// harm does what broken modules do, and none of it comes back; a kind it does not know does nothing.
func harm(kind string) {
	switch kind {
	case "panic":
		panic("a probe")
	case "loop":
		for {
		}
	case "memory":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
			all[len(all)-1][0] = 1
		}
	case "recursion":
		deep(0)
	}
}

//go:noinline
func deep(n uint64) uint64 { return deep(n+1)*3 ^ n }
