package image

import (
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/progress"
)

// Options are what opening an image and preparing a place have in common. The
// zero value is usable.
type Options struct {
	Platform    string                         // os/arch[/variant]; "" = every platform of an index, an engine's own
	Client      func() (*client.Client, error) // the engine, asked for only when one is needed; nil = the one that the docker command would use
	TempDir     string                         // for temporary files; "" = os.TempDir()
	Timeout     time.Duration                  // how long a registry or an engine may be silent; 0 = silence.Default
	Warn        func(string)                   // takes one line for the user; nil = the line is dropped
	Display     progress.Display               // shows storing, loading, pushing; nil = nothing
	Insecure    bool                           // a registry may speak plain HTTP, and have any certificate
	Compression Compression                    // of a new layer (Prepare only)
	Force       bool                           // replace a file that isn't an earlier result (Prepare only)
	Stdout      io.Writer                      // for the path "-"; nil = os.Stdout (Prepare only)
}

// Warnf warns the user in one line.
func (o Options) Warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

// Note shows the user one line.
func (o Options) Note(line string) {
	if o.Display != nil {
		o.Display.Note(line)
	}
}

// Start starts a bar of the display for a stage of total bytes.
func (o Options) Start(stage, what string, total int64) progress.Bar {
	if o.Display == nil {
		return noBar{}
	}
	return o.Display.Start(stage, what, total)
}

type noBar struct{}

func (noBar) Add(int64)  {}
func (noBar) Done(error) {}

// Counting is w with what is written counted on bar.
func Counting(w io.Writer, bar progress.Bar) io.Writer { return counting{w, bar} }

type counting struct {
	io.Writer
	bar progress.Bar
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bar.Add(int64(n))
	return n, err
}

// ReadFrom leaves it to the writer how much is read at a time.
func (c counting) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(c.Writer, countingReader{r, c.bar})
}

type countingReader struct {
	io.Reader
	bar progress.Bar
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.Add(int64(n))
	return n, err
}
