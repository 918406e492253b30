package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/progress"
)

// storeArchive loads the image into a graphdriver store or podman's.
func (p *place) storeArchive(ctx context.Context, images []image.NewImage) (*image.Stored, error) {
	if err := image.OnePlatform(p.ref, images, "the engine's image store"); err != nil {
		return nil, err
	}
	if c := p.opt.Compression; c.Kind != "" && c.Kind != image.Uncompressed {
		p.opt.Warnf("the engine stores layers uncompressed: --compression %s has no effect", c)
	}
	n := images[0]
	omit, err := p.hasBase(ctx, n.From, n.Keep)
	if err != nil {
		return nil, err
	}
	owner := NewOwner(p.opt.TempDir, p.Client)
	l := &archiveLoad{place: p, NewImage: n, omit: omit, owner: owner}
	err = l.load(ctx)
	var refused *refusedError
	if omit && ctx.Err() == nil && errors.As(err, &refused) {
		// it has no such layers after all, or wants to see them
		l = &archiveLoad{place: p, NewImage: n, owner: owner}
		err = l.load(ctx)
	}
	if err != nil {
		owner.Release()
		return nil, err
	}
	in := loadedImage{id: image.DigestOf(l.made.Config).String(), wasThere: l.wasThere, owner: owner}
	return p.loaded(ctx, in, []image.StoredImage{l.made.Stored(v1.Descriptor{}, 0)})
}

// archiveLoad is an image on its way into a graphdriver store or podman's.
type archiveLoad struct {
	*place
	image.NewImage
	omit     bool // leave the base's layers out
	owner    *Owner
	made     *image.Made
	wasThere bool // the engine had the very image before
}

// load sends a docker-archive whose new layer comes first: the names of its
// files tell nothing, so the layer needn't be known, or kept anywhere, before it
// is sent. All layers are listed; a graphdriver store takes those that it has
// without their files (moby, image/tarexport load).
func (l *archiveLoad) load(ctx context.Context) error {
	base, names, err := l.base(ctx)
	if err != nil {
		return err
	}
	const newLayerName = "layer.tar"
	bar := newLoadBar(l.opt, l.what(), archive.Size(base))
	var records []archive.Record
	var layer *image.MadeLayer
	if l.Write != nil {
		names = append(names, newLayerName)
		records = append(records, archive.Record{Name: newLayerName, Size: l.Size, Write: func(ctx context.Context, w io.Writer) (err error) {
			layer, err = l.WriteTar(ctx, w)
			return err
		}})
	}
	for _, r := range base {
		records = append(records, bar.counts(r))
	}
	var id v1.Hash
	config := func(ctx context.Context) ([]byte, error) {
		bar.start()
		made, err := l.Complete(layer)
		if err != nil {
			return nil, err
		}
		id = image.DigestOf(made.Config)
		if l.wasThere, err = l.has(ctx, id.String()); err != nil {
			return nil, err
		}
		l.made = made
		return made.Config, nil
	}
	manifest := func(context.Context) ([]byte, error) {
		saved := archive.SavedImage{Config: "config.json", Layers: names}
		if !l.wasThere { // one that was there may have no name, and then goes with its passing one
			saved.RepoTags = []string{l.owner.passingName()}
		}
		return json.Marshal([]archive.SavedImage{saved})
	}
	records = append(records, archive.Record{Name: "config.json", Document: config}, archive.Record{Name: "manifest.json", Document: manifest})
	sent, err := l.send(ctx, records)
	bar.done(err)
	if err != nil && sent && !l.wasThere {
		l.undo(ctx, loadedImage{id: id.String(), owner: l.owner})
	}
	return err
}

// base are the records of the base's layers that are sent, and the names under
// which all of them are listed.
func (l *archiveLoad) base(ctx context.Context) (records []archive.Record, names []string, err error) {
	names = []string{}
	for i, b := range l.Base() {
		name := l.From.DiffIDs[i].Hex + ".tar"
		if !l.omit && !slices.Contains(names, name) {
			r, err := archive.LayerRecord(ctx, name, b)
			if err != nil {
				return nil, nil, err
			}
			records = append(records, r)
		}
		names = append(names, name)
	}
	return records, names, nil
}

// loadBar shows a load: the bytes that are sent besides a layer that is being
// written, and then the time that the engine takes.
type loadBar struct {
	begin func() progress.Bar
	bar   progress.Bar
}

func newLoadBar(opt image.Options, what string, total int64) *loadBar {
	return &loadBar{begin: func() progress.Bar { return opt.Start(progress.Loading, what, total) }}
}

// start starts the bar, if it hasn't been started.
func (b *loadBar) start() progress.Bar {
	if b.bar == nil {
		b.bar = b.begin()
	}
	return b.bar
}

func (b *loadBar) done(err error) {
	if b.bar != nil {
		b.bar.Done(err)
	}
}

// counts is the record with its bytes counted.
func (b *loadBar) counts(r archive.Record) archive.Record {
	write := r.Write
	if write != nil {
		r.Write = func(ctx context.Context, w io.Writer) error { return write(ctx, image.Counting(w, b.start())) }
	}
	return r
}

// refusedError is what an engine said against an archive that it got whole.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }

// errEngineStopped ends the writing of an archive that the engine reads no
// more.
var errEngineStopped = errors.New("the engine stopped reading")

// send sends an archive of the records to docker load, and says whether all was
// sent. If a record fails the request is broken off before its end, and the
// engine loads nothing.
func (e *engine) send(ctx context.Context, records []archive.Record) (sent bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := archive.Write(ctx, pw, records)
		pw.CloseWithError(err)
		written <- err
	}()
	err = e.post(ctx, pr)
	pr.CloseWithError(errEngineStopped)
	streamErr := <-written
	switch {
	case streamErr == nil:
		return true, err
	case errors.Is(streamErr, errEngineStopped), err != nil && errors.Is(streamErr, io.ErrClosedPipe): // the HTTP client closes it, too
		return false, err
	}
	return false, streamErr // the engine's complaint follows from it
}

func (e *engine) post(ctx context.Context, body io.Reader) error {
	fail := func(err error) error {
		return &image.Error{Op: "load the image into", Object: e.DaemonHost(), Err: err}
	}
	resp, err := e.ImageLoad(ctx, body, client.ImageLoadWithQuiet(true))
	if err != nil {
		if client.IsErrConnectionFailed(err) {
			return explain(e.Client, "load", "", err)
		}
		return fail(&refusedError{err.Error()})
	}
	defer resp.Body.Close()
	messages := json.NewDecoder(resp.Body)
	for {
		var m struct {
			Error  string `json:"error"`
			Detail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := messages.Decode(&m)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fail(fmt.Errorf("read the engine's answer: %w", err))
		}
		if m.Error == "" {
			m.Error = m.Detail.Message
		}
		if m.Error != "" {
			return fail(&refusedError{m.Error})
		}
	}
}

// undoFor is how long undo waits for an engine to finish: most of a load comes
// after the last byte. A second interrupt doesn't wait.
const undoFor = time.Minute

// undo removes what an engine makes of an archive when the user interrupts
// after it got the last byte: it doesn't hear of that, and loads the image. After
// another error there may be an image, too, if it was the answer that got lost.
func (e *engine) undo(ctx context.Context, in loadedImage) {
	interrupted := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	for {
		if there, err := e.remove(ctx, in); there || err != nil || !interrupted {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			in.owner.Leave()
			return
		}
	}
}

// sameID tells whether an engine's image ID is the digest: podman leaves the
// algorithm out.
func sameID(id string, digest v1.Hash) bool { return strings.TrimPrefix(id, "sha256:") == digest.Hex }
