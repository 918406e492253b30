package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// toEngine loads the image into the engine without a name, makes sure that it
// has become what was meant, and gives it its names only then.
func (w *storing) toEngine(ctx context.Context, images []NewImage) (*Stored, error) {
	if w.engine.store == containerdStore {
		return w.toContainerd(ctx, images)
	}
	if err := w.onePlatform(images, "the engine's image store"); err != nil {
		return nil, err
	}
	if w.compression.Kind != "" && w.compression.Kind != Uncompressed {
		w.opt.warn("the engine stores layers uncompressed: --compression %s has no effect", w.compression)
	}
	n := images[0]
	omit, err := w.hasBase(ctx, n)
	if err != nil {
		return nil, err
	}
	l := &engineLoad{storing: w, NewImage: n, omit: omit}
	sent, err := l.load(ctx, l.archive)
	var refused *refusedError
	if omit && ctx.Err() == nil && errors.As(err, &refused) {
		// it has no such layers after all, or wants to see them
		l = &engineLoad{storing: w, NewImage: n}
		sent, err = l.load(ctx, l.archive)
	}
	if err != nil {
		if sent && !l.wasThere {
			w.undo(ctx, digestOfBytes(l.made.config).String())
		}
		return nil, err
	}
	id := digestOfBytes(l.made.config)
	s := l.made.stored(v1.Descriptor{}, v1.Descriptor{})
	s.BaseOmitted = l.omit
	if err := w.confirm(ctx, id.String(), []StoredImage{s}, l.wasThere); err != nil {
		return nil, err
	}
	return &Stored{ID: id.String(), Names: w.names, Images: []StoredImage{s}}, nil
}

// hasBase tells whether the engine has the base's layers, so that they needn't
// be sent. A graphdriver store knows layers by their chain of diff IDs, whoever
// brought them.
func (w *storing) hasBase(ctx context.Context, n NewImage) (bool, error) {
	if n.Keep == 0 || w.engine.store == podmanStore {
		return false, nil
	}
	if d := n.From.daemon; d != nil && (d.engine.id != "" && d.engine.id == w.engine.id || d.engine.DaemonHost() == w.engine.DaemonHost()) {
		return true, nil
	}
	if w.engine.store == containerdStore {
		return false, nil // it needs the very blobs
	}
	list, err := w.engine.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return false, engineError(w.engine.Client, "list images of", w.engine.DaemonHost(), err)
	}
	base := n.From.DiffIDs[:n.Keep]
	for _, s := range list {
		inspect, err := w.engine.ImageInspect(ctx, s.ID)
		if isNotFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return false, engineError(w.engine.Client, "open", s.ID, err)
		}
		have, err := inspectedLayers(inspect)
		if err == nil && len(have) >= len(base) && slices.Equal(have[:len(base)], base) {
			return true, nil
		}
	}
	return false, nil
}

// refusedError is what an engine said against an archive that it got whole.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }

// errEngineStopped ends the writing of an archive that the engine reads no
// more.
var errEngineStopped = errors.New("the engine stopped reading")

// load sends what stream writes to docker load, and says whether all was sent.
// If stream fails the request is broken off before its end, and the engine loads
// nothing.
func (w *storing) load(ctx context.Context, stream func(context.Context, io.Writer) error) (sent bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := stream(ctx, pw)
		pw.CloseWithError(err)
		written <- err
	}()
	err = w.post(ctx, pr)
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

func (w *storing) post(ctx context.Context, body io.Reader) error {
	resp, err := w.engine.ImageLoad(ctx, body, client.ImageLoadWithQuiet(true))
	if err != nil {
		if client.IsErrConnectionFailed(err) {
			return engineError(w.engine.Client, "load", "", err)
		}
		return &Error{Op: "load the image into", Object: w.engine.DaemonHost(), Err: &refusedError{err.Error()}}
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
			return &Error{Op: "load the image into", Object: w.engine.DaemonHost(), Err: fmt.Errorf("read the engine's answer: %w", err)}
		}
		if m.Error == "" {
			m.Error = m.Detail.Message
		}
		if m.Error != "" {
			return &Error{Op: "load the image into", Object: w.engine.DaemonHost(), Err: &refusedError{m.Error}}
		}
	}
}

// engineLoad is an image on its way into a graphdriver store or podman's.
type engineLoad struct {
	*storing
	NewImage
	omit     bool // leave the base's layers out
	made     *newImage
	wasThere bool // the engine had the very image before
}

// undoFor is how long undo waits for an engine to finish: most of a load comes
// after the last byte. A second interrupt doesn't wait.
const undoFor = time.Minute

// undo removes what an engine makes of an archive when the user interrupts
// after it got the last byte: it doesn't hear of that, and loads the image.
func (w *storing) undo(ctx context.Context, id string) {
	if ctx.Err() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	for {
		if there, err := w.remove(ctx, id); there || err != nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// archive writes a docker-archive whose new layer comes first: the names of its
// files tell nothing, so the layer needn't be known, or kept anywhere, before
// it is sent. All layers are listed; a graphdriver store takes those that it has
// without their files (moby, image/tarexport load).
func (l *engineLoad) archive(ctx context.Context, out io.Writer) error {
	const newLayerName = "layer.tar"
	t := tarball{tar.NewWriter(out)}
	made := &newImage{NewImage: l.NewImage}
	diffIDs := slices.Clone(l.From.DiffIDs[:l.Keep])
	if l.Write != nil {
		if err := t.header(newLayerName, l.Size); err != nil {
			return err
		}
		diffID, err := l.writeTar(ctx, t)
		if err != nil {
			return err
		}
		made.layer = &newLayer{kind: Uncompressed, digest: diffID, diffID: diffID, size: l.Size}
		diffIDs = append(diffIDs, diffID)
	}
	if err := made.configure(diffIDs); err != nil {
		return err
	}
	id := digestOfBytes(made.config)
	var err error
	if l.wasThere, err = l.has(ctx, id.String()); err != nil {
		return err
	}
	saved := savedImage{Config: id.Hex + ".json", Layers: []string{}}
	written := map[string]bool{}
	for i, d := range diffIDs {
		name := d.Hex + ".tar"
		if i >= l.Keep {
			name = newLayerName
		} else if !l.omit && !written[name] {
			written[name] = true
			if err := t.blob(ctx, name, made.base()[i]); err != nil {
				return err
			}
		}
		saved.Layers = append(saved.Layers, name)
	}
	if err := t.document(saved.Config, made.config); err != nil {
		return err
	}
	manifest, err := json.Marshal([]savedImage{saved})
	if err != nil {
		return err
	}
	if err := t.document("manifest.json", manifest); err != nil {
		return err
	}
	l.made = made
	return t.Close()
}

// has tells whether the engine has an image of that ID.
func (w *storing) has(ctx context.Context, id string) (bool, error) {
	_, err := w.engine.ImageInspect(ctx, id)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, engineError(w.engine.Client, "open", id, err)
	}
	return true, nil
}

// confirm makes sure that the loaded image has the layers that it should have,
// and tags it. An image that isn't right goes again, unless it was there before.
func (w *storing) confirm(ctx context.Context, id string, images []StoredImage, wasThere bool) error {
	inspect, err := w.engine.ImageInspect(ctx, id)
	var have []v1.Hash
	if err != nil {
		err = engineError(w.engine.Client, "open the loaded image", id, err)
	} else {
		have, err = inspectedLayers(inspect)
	}
	if err == nil && !slices.ContainsFunc(images, func(s StoredImage) bool { return slices.Equal(s.DiffIDs, have) }) {
		err = detail(ErrDiffers, "the engine made %d layers of the %d that it was given, or others", len(have), len(images[0].DiffIDs))
	}
	tagged := 0
	if err == nil {
		tagged, err = w.tag(ctx, id)
	}
	if err == nil {
		return nil
	}
	if !wasThere && tagged == 0 {
		// also when the user interrupts just here
		_, removeErr := w.remove(context.WithoutCancel(ctx), id)
		err = errors.Join(err, removeErr)
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return &Error{Op: "load", Object: id, Err: err}
}

// remove removes an image that has just been loaded, and says whether it was
// there. One that has a name by now is another run's.
func (w *storing) remove(ctx context.Context, id string) (there bool, err error) {
	inspect, err := w.engine.ImageInspect(ctx, id)
	if err == nil && len(inspect.RepoTags) == 0 {
		_, err = w.engine.ImageRemove(ctx, id, image.RemoveOptions{})
	}
	if isNotFound(err) {
		return false, nil
	}
	return true, err
}

// tag gives the image its names and returns how many it got.
func (w *storing) tag(ctx context.Context, id string) (int, error) {
	for i, name := range w.names {
		if err := w.engine.ImageTag(ctx, id, name); err != nil {
			return i, &Error{Op: "tag", Object: name, Err: err}
		}
	}
	return len(w.names), nil
}
