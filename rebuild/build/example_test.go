package build_test

import (
	"fmt"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
)

func ExampleInterpret() {
	base := &history.Image{}
	base.Config.Env = []string{"PATH=/bin", "LANG=C"}
	base.Config.Cmd = []string{"sh"}
	image, err := build.Interpret([]byte(`FROM debian:12
MAINTAINER Jo
ADD layer.tar.gz /
ENV LANG=C.UTF-8 APP=/srv
ENTRYPOINT ["/srv/app"]
`), base)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(image.Author, image.Config.Env, image.Config.Cmd)
	// Output:
	// Jo [PATH=/bin LANG=C.UTF-8 APP=/srv] []
}
