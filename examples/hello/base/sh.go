// Command sh is all that the hello example's Dockerfile needs of a base, for
// where none can be pulled: echo and cat, with > and >>.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "-c" {
		fail("usage: sh -c COMMAND")
	}
	words := strings.Fields(strings.ReplaceAll(os.Args[2], `"`, ""))
	out := os.Stdout
	if n := len(words); n > 2 && strings.HasPrefix(words[n-2], ">") {
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if words[n-2] == ">>" {
			flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		f, err := os.OpenFile(words[n-1], flags, 0o644)
		if err != nil {
			fail(err.Error())
		}
		out, words = f, words[:n-2]
	}
	switch {
	case len(words) > 0 && words[0] == "echo":
		fmt.Fprintln(out, strings.Join(words[1:], " "))
	case len(words) == 2 && words[0] == "cat":
		text, err := os.ReadFile(words[1])
		if err != nil {
			fail(err.Error())
		}
		out.Write(text)
	default:
		fail("only echo and cat here, not: " + os.Args[2])
	}
	if err := out.Close(); err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "sh:", message)
	os.Exit(1)
}
