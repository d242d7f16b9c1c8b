package config

import "strings"

// nearest is the name that the wrong one was probably meant to be; empty when none is near.
func nearest(wrong string, names []string) string {
	wrong = strings.ToLower(wrong)
	best, least := "", len(wrong)/2+1
	for _, name := range names {
		plain := strings.NewReplacer("_", "", "-", "").Replace
		d := distance(wrong, strings.ToLower(name))
		if plain(wrong) == plain(strings.ToLower(name)) {
			d = 0
		}
		if d < least || d == least && best != "" && name < best {
			best, least = name, d
		}
	}
	return best
}

// DidYouMean is the remedy for an unknown name.
func DidYouMean(wrong string, names []string) string {
	if n := nearest(wrong, names); n != "" {
		return "did you mean " + n + "?"
	}
	if len(names) == 0 {
		return "remove it"
	}
	return "known here: " + strings.Join(names, ", ")
}

// distance is the number of letters to insert, remove, replace, or swap with the next.
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
