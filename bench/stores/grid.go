package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// grid is the table that is printed: a line a figure, a column a contestant.
type grid struct {
	rows  []string
	cells map[string]map[string]string
}

func (g *grid) add(row, column, cell string) {
	if g.cells == nil {
		g.cells = map[string]map[string]string{}
	}
	if !slices.Contains(g.rows, row) {
		g.rows = append(g.rows, row)
		g.cells[row] = map[string]string{}
	}
	g.cells[row][column] = cell
}

// print writes Markdown.
func (g *grid) print(w io.Writer) {
	lines := [][]string{{""}, {"---"}}
	for _, c := range contestants {
		lines[0] = append(lines[0], c.name)
		lines[1] = append(lines[1], "---")
	}
	for _, row := range g.rows {
		line := []string{row}
		for _, c := range contestants {
			line = append(line, g.cells[row][c.name])
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			width := 0
			for _, other := range lines {
				width = max(width, utf8.RuneCountInString(other[i]))
			}
			fmt.Fprint(w, "| ", cell, strings.Repeat(" ", width-utf8.RuneCountInString(cell)), " ")
		}
		fmt.Fprintln(w, "|")
	}
}
