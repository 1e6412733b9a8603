//go:build wasip1

package main

import "aegis-coraza/rx"

func init() { rx.Register(rx.Native{}) }
