package image

import (
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A disk that gets full in the middle of a new layer, or at its end, is said to be
// full, with what helps.
func TestFullDiskUnderANewLayerHasAHint(t *testing.T) {
	for _, kind := range []string{Gzip, Zstandard, Uncompressed} {
		for _, size := range []int64{1 << 10, 16 << 20} {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			n := NewImage{Size: size, Write: func(_ context.Context, w io.Writer) error {
				_, err := io.CopyN(w, rand.New(rand.NewSource(1)), size)
				return err
			}}
			_, err = n.compress(t.Context(), full, Compression{Kind: kind})
			var known *Error
			if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &known) || !strings.Contains(known.Hint, "TMPDIR") || !strings.HasPrefix(err.Error(), "write the new layer: ") {
				t.Errorf("%s, %d bytes: error is %v", kind, size, err)
			}
			if err := full.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
