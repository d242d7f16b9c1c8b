package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tries is how often a store is damaged in each way.
const tries = 50

// damage spoils one file of a store that was killed, and reads it.
func damage(ctx context.Context, base string, c contestant, add func(row, cell string)) error {
	dir, err := os.MkdirTemp(base, "damage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sound := filepath.Join(dir, "sound")
	if err := os.Mkdir(sound, 0o700); err != nil {
		return err
	}
	if _, how, words, err := try(ctx, limit, "kill", c, sound, 10_000); err != nil || how != fault {
		return fmt.Errorf("make the store: %s: %s: %w", how, words, err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, way := range []struct {
		name  string
		spoil func(random *rand.Rand, f *os.File, size int64) error
	}{{"1 to 16 bytes changed", flip}, {"a file cut short", cutShort}} {
		counts := map[string]int{}
		for range tries {
			said, err := spoiled(ctx, c, sound, filepath.Join(dir, "spoiled"), func(f *os.File, size int64) error { return way.spoil(random, f, size) }, random)
			if err != nil {
				return err
			}
			counts[said]++
		}
		add(fmt.Sprintf("damage: %s, %d times", way.name, tries), tally(counts))
	}
	return nil
}

// spoiled damages a copy and says what reading it gives.
func spoiled(ctx context.Context, c contestant, sound, copied string, spoil func(*os.File, int64) error, random *rand.Rand) (string, error) {
	defer os.RemoveAll(copied)
	if err := os.CopyFS(copied, os.DirFS(sound)); err != nil {
		return "", err
	}
	name, size, err := anyFile(copied, random)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := spoil(f, size); err != nil {
		return "", err
	}
	r, how, words, err := try(ctx, limit, "read", c, copied, 0)
	fmt.Fprintf(os.Stderr, "damage of %s in %s (%d bytes): %s: %.160q %+v\n", c.name, filepath.Base(name), size, how, words, r.Content)
	switch {
	case err != nil || how != fine:
		return string(how), err
	case !r.Content.Whole:
		return "silently WRONG", nil
	case r.Content.Number < killedAt:
		return "silently older", nil
	}
	return "unharmed", nil
}

// anyFile picks a file, each byte of all with the same chance.
func anyFile(dir string, random *rand.Rand) (name string, size int64, err error) {
	var sum int64
	err = files(dir, func(n string, info fs.FileInfo) error {
		sum += info.Size()
		if info.Size() > 0 && random.Int64N(sum) < info.Size() {
			name, size = n, info.Size()
		}
		return nil
	})
	return name, size, err
}

func flip(random *rand.Rand, f *os.File, size int64) error {
	for range 1 + random.IntN(16) {
		at := random.Int64N(size)
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= byte(1 + random.IntN(255))
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return nil
}

func cutShort(random *rand.Rand, f *os.File, size int64) error {
	return f.Truncate(random.Int64N(size))
}

// tally writes counts, the most frequent first.
func tally(counts map[string]int) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return counts[b] - counts[a] }) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}
