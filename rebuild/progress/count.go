package progress

// Counter is an io.Writer that counts on its bar what is written to it.
type Counter struct{ Bar Bar }

func (c Counter) Write(p []byte) (int, error) {
	c.Bar.Add(int64(len(p)))
	return len(p), nil
}
