package history

import "strconv"

// Count writes a number and its noun: "1 layer", "3 layers".
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
