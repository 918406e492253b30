//go:build linux

package hostile

func engineFaults() []int { return nil }
