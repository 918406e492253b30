package archive

import (
	"archive/tar"
	"context"
	"io"
	"time"
)

// Record is one file of an archive that is written.
type Record struct {
	Name string
	Size int64
	// Write writes the Size bytes of the file.
	Write func(ctx context.Context, w io.Writer) error
	// Document, in the place of Size and Write, returns the whole of a small file.
	// It is called when all records before have been written.
	Document func(ctx context.Context) ([]byte, error)
	// Then, in the place of all that, returns the records that follow. It is called
	// when all records before have been written.
	Then func(ctx context.Context) ([]Record, error)
}

// Doc is a Record of a document that is known.
func Doc(name string, doc []byte) Record {
	return Record{Name: name, Document: func(context.Context) ([]byte, error) { return doc, nil }}
}

// Size is the number of bytes of the records that are no documents.
func Size(records []Record) (n int64) {
	for _, r := range records {
		n += r.Size
	}
	return n
}

// Write writes the records as a tar file whose bytes depend on nothing but them.
func Write(ctx context.Context, w io.Writer, records []Record) error {
	t := tar.NewWriter(w)
	if err := write(ctx, t, records); err != nil {
		return err
	}
	return t.Close()
}

func write(ctx context.Context, t *tar.Writer, records []Record) error {
	for _, r := range records {
		if r.Then != nil {
			more, err := r.Then(ctx)
			if err != nil {
				return err
			}
			if err := write(ctx, t, more); err != nil {
				return err
			}
			continue
		}
		body := r.Write
		if r.Document != nil {
			doc, err := r.Document(ctx)
			if err != nil {
				return err
			}
			r.Size = int64(len(doc))
			body = func(_ context.Context, w io.Writer) error {
				_, err := w.Write(doc)
				return err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: r.Name, Mode: 0o644, Size: r.Size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if r.Size >= 8<<30 { // what 11 octal digits can't say
			h.Format = tar.FormatGNU
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if err := body(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
