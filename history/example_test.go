package history_test

import (
	"fmt"

	"docker-flatten/history"
)

func ExampleStep_Dockerfile() {
	for _, s := range []history.Step{
		{Name: "ENV", Pairs: []history.Pair{{Key: "GREETING", Value: `it's "$5"`}, {Key: "LANG", Value: "C.UTF-8"}}},
		{Name: "EXPOSE", Args: []string{"234/tcp", "123/tcp", "53/udp"}},
		{Name: "CMD", Args: []string{"/bin/sh", "-c", "cat message.txt"}, Shell: []string{"/bin/sh", "-c"}},
		{Name: "WORKDIR", Args: []string{"/srv/"}},
	} {
		text, err := s.Dockerfile()
		fmt.Println(text, err)
	}
	// Output:
	// ENV GREETING="it's \"\$5\"" LANG=C.UTF-8 <nil>
	// EXPOSE 53/udp 123 234 <nil>
	// CMD cat message.txt <nil>
	//  WORKDIR takes clean absolute paths only
}
