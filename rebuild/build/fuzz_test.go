package build_test

import (
	"os"
	"path/filepath"
	"testing"

	"docker-flatten/rebuild/build"
)

// FuzzInterpret: whatever the text, there is a result or an error, the base is
// left alone, and the same text gives the same result.
func FuzzInterpret(f *testing.F) {
	golden, err := filepath.Glob(filepath.Join("..", "..", "templates", "testdata", "dockerfile", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range golden {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("FROM a\nEXPOSE ${A:-1-65535}/udp\nHEALTHCHECK --interval=1h CMD [\"\"]\nONBUILD RUN <<-\"E\"\n\tx\n\tE\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		base := baseImage()
		before := dump(base)
		got, err := build.Interpret(text, base)
		if dump(base) != before {
			t.Error("the base was changed")
		}
		again, err2 := build.Interpret(text, base)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("first %v, then %v", err, err2)
		}
		if err == nil && dump(got) != dump(again) {
			t.Errorf("first %s, then %s", dump(got), dump(again))
		}
	})
}
