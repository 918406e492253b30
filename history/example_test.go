package history_test

import (
	"encoding/json"
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

// config is the end of an image's config document.
const config = `{
	"architecture": "amd64", "os": "linux",
	"config": {"Env": ["PATH=/bin", "MODE=fast"], "Cmd": ["/app"], "WorkingDir": "/srv"},
	"rootfs": {"type": "layers", "diff_ids": [
		"sha256:1111111111111111111111111111111111111111111111111111111111111111",
		"sha256:2222222222222222222222222222222222222222222222222222222222222222"]},
	"history": [
		{"created_by": "/bin/sh -c #(nop) ADD file:e5d1e1b3ab4f in / "},
		{"created_by": "/bin/sh -c #(nop)  CMD [\"/bin/sh\"]", "empty_layer": true},
		{"created_by": "ENV MODE=fast", "comment": "buildkit.dockerfile.v0", "empty_layer": true},
		{"created_by": "WORKDIR /srv", "comment": "buildkit.dockerfile.v0", "empty_layer": true},
		{"created_by": "RUN |1 VERSION=2 /bin/sh -c make app # buildkit", "comment": "buildkit.dockerfile.v0"},
		{"created_by": "CMD [\"/app\"]", "comment": "buildkit.dockerfile.v0", "empty_layer": true}
	]
}`

// The history is read, the base is found in it, and what leads from the base's
// config to the image's is planned.
func Example() {
	var img history.Image
	if err := json.Unmarshal([]byte(config), &img); err != nil {
		fmt.Println(err)
		return
	}
	instructions := history.Parse(&img)
	for _, i := range instructions {
		fmt.Printf("%-8s  layer %2d  %s\n", i.Dialect, i.Layer, i.Text)
	}
	base, err := history.FindBase(&img, instructions, "auto", nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(base.Layers, "layer is the base's:", base.Evidence)
	replay, err := history.Plan(&img, instructions, base)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, steps := range [][]history.Step{replay.Before, replay.After} {
		for _, s := range steps {
			text, err := s.Dockerfile()
			fmt.Println(text, err)
		}
	}
	// Output:
	// classic   layer  0  ADD file:e5d1e1b3ab4f in /
	// classic   layer -1  CMD ["/bin/sh"]
	// buildkit  layer -1  ENV MODE=fast
	// buildkit  layer -1  WORKDIR /srv
	// buildkit  layer  1  RUN make app
	// buildkit  layer -1  CMD ["/app"]
	// 1 layer is the base's: guessed from the history: root file system ADD file:e5d1e1b3ab4f in /, up to CMD ["/bin/sh"]
	// ENV MODE=fast <nil>
	// WORKDIR /srv <nil>
	// CMD ["/app"] <nil>
}
