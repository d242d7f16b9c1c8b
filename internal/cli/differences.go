package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"

	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// Bounds of the differences that are repaired at one time, and of the bytes of their paths.
const (
	repairMax      = 100_000
	repairBytesMax = 32 << 20
)

// differences prints those of one pair as they come, and keeps them if they are to be repaired.
type differences struct {
	out    *bufio.Writer
	json   *json.Encoder
	asJSON bool
	pair   pair
	// count are those that are not on their way; moving are the others.
	count, moving int
	// compared: to the end.
	compared  bool
	keep      bool
	kept      []transport.Difference
	keptBytes int
	// repairing is how many the running sersync was told of.
	repairing int
}

// differenceLine is a line of --json.
type differenceLine struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Path     string `json:"path,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Dir      bool   `json:"dir,omitempty"`
	Size     int64  `json:"size,omitempty"`
	OnItsWay bool   `json:"on_its_way,omitempty"`
	// Differences is there in the last line of a target, as Repairing and Error are when there is any.
	Differences *int   `json:"differences,omitempty"`
	Repairing   int    `json:"repairing,omitempty"`
	Error       string `json:"error,omitempty"`
}

func kindOf(d transport.Difference) string {
	switch {
	case d.Extra:
		return "extra"
	case d.Missing:
		return "missing"
	}
	return "different"
}

func (p *differences) found(d replicate.Found) error {
	if p.count+p.moving == 0 && !p.asJSON {
		fmt.Fprintf(p.out, "%s to %s\n", quote(p.pair.source.Name), quote(p.pair.target.URL()))
	}
	if d.OnItsWay {
		p.moving++
	} else {
		p.count++
		p.remember(d.Difference)
	}
	if p.asJSON {
		return p.json.Encode(differenceLine{
			Source: p.pair.source.Name, Target: p.pair.target.URL(),
			Path: d.Path.String(), Kind: kindOf(d.Difference), Dir: d.Dir, Size: d.Size, OnItsWay: d.OnItsWay,
		})
	}
	what := ""
	if d.Dir {
		what = " (directory)"
	}
	if d.OnItsWay {
		what += " (on its way)"
	}
	_, err := fmt.Fprintf(p.out, "  %-9s  %s%s\n", kindOf(d.Difference), d.Path, what)
	return err
}

func (p *differences) remember(d transport.Difference) {
	if p.keep && len(p.kept) < repairMax && p.keptBytes+len(d.Path) <= repairBytesMax {
		p.kept = append(p.kept, d)
		p.keptBytes += len(d.Path)
	}
}

// end says what the comparison came to.
func (p *differences) end(failed error) error {
	if p.asJSON {
		line := differenceLine{Source: p.pair.source.Name, Target: p.pair.target.URL(), Differences: &p.count, Repairing: p.repairing}
		if failed != nil {
			line.Error = failed.Error()
		}
		return errors.Join(p.json.Encode(line), p.out.Flush())
	}
	name := quote(p.pair.source.Name) + " to " + quote(p.pair.target.URL())
	switch {
	case failed != nil:
		fmt.Fprintf(p.out, "%s: %s: %v\n", name, p.failing(), failed)
		if hint := hintOf(failed); hint != "" {
			fmt.Fprintf(p.out, "  hint: %s\n", hint)
		}
	default:
		fmt.Fprintf(p.out, "%s: %s\n", name, p.result())
	}
	return p.out.Flush()
}

func (p *differences) failing() string {
	if p.compared {
		return plural(p.count, "difference") + ", cannot be repaired"
	}
	return "cannot be compared"
}

func (p *differences) result() string {
	text := "equal"
	if p.count > 0 {
		text = plural(p.count, "difference")
	}
	if p.moving > 0 {
		text += fmt.Sprintf(", and %d on the way", p.moving)
	}
	switch {
	case p.repairing == 0:
	case p.repairing < p.count:
		text += fmt.Sprintf("; %d are being repaired: run this again for the rest", p.repairing)
	default:
		text += "; being repaired"
	}
	return text
}
