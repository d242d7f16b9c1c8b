package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// makeLarge writes a file of noise, the same at each call.
func makeLarge(file string, size int64, mtime time.Time) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{2}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make the large file: %w", err)
	}
	return os.Chtimes(file, mtime, mtime)
}

// patch writes n bytes of other noise into a file at an offset.
func patch(file string, at, n int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.NewOffsetWriter(f, at), rand.NewChaCha8([32]byte{3}), n)
	return errors.Join(err, f.Close())
}

// insertByte writes a copy of a file with a byte more in front.
func insertByte(file, spare string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(spare)
	if err != nil {
		return err
	}
	_, err = to.Write([]byte{'+'})
	if err == nil {
		_, err = io.Copy(to, from)
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("write the large file anew: %w", err)
	}
	return nil
}
