//go:build linux

package hostile

func signalCases() []int { return nil }
func killCases() []int { return nil }
func diskCases() []int { return nil }
func streamCases() []int { return nil }
func pipeCases() []int { return nil }
func layoutFaults() []int { return nil }
func pullFaults() []int { return nil }
func pushFaults() []int { return nil }
func engineFaults() []int { return nil }
