package image

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// DigestOf is the digest of b.
func DigestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// digestLike is the digest of b by the algorithm of another one, where it is one of
// the two that OCI registers. By any other it is sha256's, which then differs.
func digestLike(other v1.Hash, b []byte) v1.Hash {
	if other.Algorithm == "sha512" {
		sum := sha512.Sum512(b)
		return v1.Hash{Algorithm: "sha512", Hex: hex.EncodeToString(sum[:])}
	}
	return DigestOf(b)
}

func sumOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// hashed reads r, hashing what is read; it ends when ctx does.
type hashed struct {
	r   io.Reader
	ctx context.Context
	sum hash.Hash
	n   int64
}

func (h *hashed) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}

func (h *hashed) digest() v1.Hash { return sumOf(h.sum) }

// Until reads r until ctx ends.
func Until(ctx context.Context, r io.Reader) io.Reader { return &until{ctx, r} }

type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
