package rebuild

import (
	"io"

	"docker-flatten/rebuild/progress"
)

// start begins a stage on the display, if there is one.
func (j *job) start(stage string, total int64) progress.Bar {
	if j.Display == nil {
		return noBar{}
	}
	return j.Display.Start(stage, j.im.Ref.String(), total)
}

type noBar struct{}

func (noBar) Add(int64)  {}
func (noBar) Done(error) {}

// counted counts what is read from it on a bar.
type counted struct {
	io.Reader
	bar progress.Bar
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.Add(int64(n))
	return n, err
}

// counter counts what is written to it on a bar.
type counter struct{ bar progress.Bar }

func (c counter) Write(p []byte) (int, error) {
	c.bar.Add(int64(len(p)))
	return len(p), nil
}
