package templates_test

import (
	"fmt"

	"docker-flatten/history"
	"docker-flatten/templates"
)

func ExampleInstruction() {
	for _, s := range []history.Step{
		{Name: "ENV", Pairs: []history.Pair{{Key: "GREETING", Value: `it's "$5"`}, {Key: "LANG", Value: "C.UTF-8"}}},
		{Name: "EXPOSE", Args: []string{"234/tcp", "123/tcp", "53/udp"}},
		{Name: "CMD", Args: []string{"/bin/sh", "-c", "cat message.txt"}, Shell: []string{"/bin/sh", "-c"}},
		{Name: "WORKDIR", Args: []string{"/srv/"}},
	} {
		text, err := templates.Instruction(s)
		fmt.Println(text, err)
	}
	// Output:
	// ENV GREETING="it's \"\$5\"" LANG=C.UTF-8 <nil>
	// EXPOSE 53/udp 123 234 <nil>
	// CMD cat message.txt <nil>
	//  write WORKDIR instruction: WORKDIR can't set "/srv/": builders make a path absolute and clean it
}
