package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// figure is one line of the table.
type figure struct {
	Row   string  `json:"row"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	// Unit is "µs", "ms", "s", "times", "%", "KB", "KiB", "MB", "files", "files/s", "targets", or empty where Note is all there is to say.
	Unit string `json:"unit"`
	// Target is the bound that the value has to keep, in words; empty for a figure that only informs.
	Target string `json:"target,omitempty"`
	// Short says that the target was missed.
	Short bool   `json:"short,omitempty"`
	Note  string `json:"note,omitempty"`
}

// table is what the benchmark prints.
type table struct {
	Machine string   `json:"machine"`
	Figures []figure `json:"figures"`
	// row is the row that is being measured.
	row string
}

// info adds a figure without a target.
func (t *table) info(what string, value float64, unit, note string) {
	t.Figures = append(t.Figures, figure{Row: t.row, What: what, Value: value, Unit: unit, Note: note})
}

// atMost adds a figure whose value must not be larger than the bound.
func (t *table) atMost(what string, value, bound float64, unit, note string) {
	t.Figures = append(t.Figures, figure{
		Row: t.row, What: what, Value: value, Unit: unit, Note: note,
		Target: "≤ " + format(bound, unit), Short: value > bound,
	})
}

// atLeast adds a figure whose value must not be smaller than the bound.
func (t *table) atLeast(what string, value, bound float64, unit, note string) {
	t.Figures = append(t.Figures, figure{
		Row: t.row, What: what, Value: value, Unit: unit, Note: note,
		Target: "≥ " + format(bound, unit), Short: value < bound,
	})
}

// fail adds the reason why something could not be measured.
func (t *table) fail(err error) {
	t.Figures = append(t.Figures, figure{Row: t.row, What: failedFigure, Short: true, Note: oneLine(err.Error())})
}

// failedFigure names the lines that say why there is no figure.
const failedFigure = "failed"

// failed reports whether something could not be measured.
func (t *table) failed() bool {
	return slices.ContainsFunc(t.Figures, func(f figure) bool { return f.What == failedFigure })
}

// short reports whether any figure misses its target.
func (t *table) short() bool {
	return slices.ContainsFunc(t.Figures, func(f figure) bool { return f.Short })
}

// print writes the machine and the figures as one Markdown table whose columns are aligned, and below it why there are
// figures missing.
func (t *table) print(w io.Writer) {
	cells := [][]string{{"row", "what", "measured", "target", "verdict", "note"}}
	var failures []string
	for _, f := range t.Figures {
		if f.What == failedFigure {
			failures = append(failures, fmt.Sprintf("- not measured, row %s: %s", f.Row, f.Note))
			continue
		}
		cells = append(cells, []string{f.Row, f.What, format(f.Value, f.Unit), f.Target, f.verdict(), f.Note})
	}
	fmt.Fprintf(w, "\n%s\n\n", t.Machine)
	printCells(w, cells)
	if len(failures) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(failures, "\n"))
	}
}

// printCells writes a Markdown table, the first line its head.
func printCells(w io.Writer, cells [][]string) {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range cells {
		for i, cell := range line {
			fmt.Fprint(w, "| ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)), " ")
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, width := range widths {
				fmt.Fprint(w, "|", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// save writes the table as JSON.
func (t *table) save(file string) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// verdict is what a person looks for first.
func (f figure) verdict() string {
	switch {
	case f.Short:
		return "short"
	case f.Target != "":
		return "ok"
	}
	return ""
}

// format shows a value with as many digits as mean something.
func format(value float64, unit string) string {
	switch unit {
	case "":
		return ""
	case "files", "files/s", "targets":
		return fmt.Sprintf("%.0f %s", value, unit)
	case "ms", "s", "times":
		return fmt.Sprintf("%.2f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// oneLine makes a text fit for a cell.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.ReplaceAll(s, "|", "/")
}

// ms and seconds are a duration as a figure.
func ms(d time.Duration) float64      { return float64(d) / float64(time.Millisecond) }
func seconds(d time.Duration) float64 { return d.Seconds() }
