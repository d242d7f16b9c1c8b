// Package docs holds what is written for people, and the tests that keep it true as far as a test can: configurations
// parse, links lead somewhere, tests and files that are named exist, and translations follow their originals.
package docs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/config"
)

const root = ".."

// untranslated are for people who change the program, not for those who use it.
var untranslated = []string{"docs/architecture.md", "docs/store.md", "CHANGELOG.md"}

// document is one file, taken apart.
type document struct {
	// name is the path below the root.
	name string
	text string
	// headings are the lines of headings, blocks those of code with what their fences say.
	headings []string
	blocks   []block
	// prose is the text without code.
	prose string
}

type block struct{ info, text string }

var (
	heading = regexp.MustCompile(`^#{1,6} `)
	inline  = regexp.MustCompile("``[^`].*?``|`[^`\n]+`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

func parse(name, text string) document {
	d := document{name: name, text: text}
	var prose strings.Builder
	fenced, open := false, -1 // open is the indented block that the last lines belong to
	for line := range strings.Lines(text) {
		info, fence := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case fence && fenced:
			fenced = false
		case fence:
			fenced = true
			d.blocks = append(d.blocks, block{info: info})
		case fenced:
			d.blocks[len(d.blocks)-1].text += line
		case strings.HasPrefix(line, "    "):
			if open < 0 {
				open = len(d.blocks)
				d.blocks = append(d.blocks, block{})
			}
			d.blocks[open].text += line
			continue
		case strings.TrimSpace(line) == "":
			continue
		default:
			if heading.MatchString(line) {
				d.headings = append(d.headings, strings.TrimSpace(line))
			}
			prose.WriteString(line)
		}
		open = -1
	}
	d.prose = inline.ReplaceAllString(prose.String(), "")
	return d
}

// documents are all documents by their name.
func documents(t *testing.T) map[string]document {
	t.Helper()
	all := map[string]document{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/hooks/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = parse(name, string(text))
		}
	}
	for _, name := range []string{"README.md", "docs/architecture.md", "docs/configuration.md", "docs/guarantees.md", "docs/operations.md", "docs/migrating-from-sersync.md"} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	return all
}

// A block of yaml or xml is a whole configuration, unless its fence says "fragment".
func TestConfigurationsParse(t *testing.T) {
	whole := 0
	for name, d := range documents(t) {
		for _, b := range d.blocks {
			kind, rest, _ := strings.Cut(b.info, " ")
			switch {
			case kind == "", rest == "fragment":
				continue
			case kind != "yaml" && kind != "xml" || rest != "":
				t.Errorf("%s: a fence says %q; there is yaml, xml, each alone or with fragment", name, b.info)
				continue
			}
			whole++
			_, problems, err := config.Parse("block."+kind, []byte(b.text))
			if err != nil {
				t.Errorf("%s: %v\n%s\n%v", name, err, b.text, problems)
			}
		}
	}
	if whole < 10 {
		t.Errorf("%d configurations were found", whole)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := documents(t)
	for name, d := range all {
		for _, found := range link.FindAllStringSubmatch(d.prose, -1) {
			file, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link to %s: %v", name, found[1], err)
			} else if anchor != "" && !slices.ContainsFunc(all[target].headings, func(h string) bool { return slug(h) == anchor }) {
				t.Errorf("%s: link to %s: there is no such heading", name, found[1])
			}
		}
	}
}

// slug is the anchor of a heading: its letters and digits in lower case, with dashes for spaces.
func slug(heading string) string {
	_, text, _ := strings.Cut(heading, " ")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// A translation has the headings of its original, level by level, and the same code.
func TestTranslationsFollowTheirOriginals(t *testing.T) {
	all := documents(t)
	for name, d := range all {
		if strings.HasSuffix(name, ".zh-CN.md") || slices.Contains(untranslated, name) {
			continue
		}
		twin, ok := all[strings.TrimSuffix(name, ".md")+".zh-CN.md"]
		if !ok {
			t.Errorf("%s has no translation into Chinese", name)
			continue
		}
		if diff := cmp.Diff(levels(d), levels(twin)); diff != "" {
			t.Errorf("%s: headings differ from the original (-original +translation):\n%s", twin.name, diff)
		}
		if diff := cmp.Diff(d.blocks, twin.blocks, cmp.AllowUnexported(block{})); diff != "" {
			t.Errorf("%s: code differs from the original (-original +translation):\n%s", twin.name, diff)
		}
	}
}

func levels(d document) []string {
	var levels []string
	for _, h := range d.headings {
		marks, _, _ := strings.Cut(h, " ")
		levels = append(levels, marks)
	}
	return levels
}

var namedTest = regexp.MustCompile("`(Test[A-Z]\\w*)(?:/([\\w-]+))?`")

// Everything that 2.5.4 took from its file, and every row of the tables of tests, names a test.
func TestMigrationNamesTests(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(root, "etc/confxml.xml"))
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t)
	original, twin := all["docs/migrating-from-sersync.md"].text, all["docs/migrating-from-sersync.zh-CN.md"].text
	if diff := cmp.Diff(namedTest.FindAllString(original, -1), namedTest.FindAllString(twin, -1)); diff != "" {
		t.Errorf("tests differ (-original +translation):\n%s", diff)
	}
	_, tables, _ := strings.Cut(original, "## Which tests show it\n")
	rows := 0
	for line := range strings.Lines(tables) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| tests |\n") {
			continue
		}
		rows++
		if cells := strings.Split(line, " | "); len(cells) != 2 || !namedTest.MatchString(cells[1]) {
			t.Errorf("a row without a test: %s", line)
		}
	}
	if rows < 50 {
		t.Errorf("%d rows", rows)
	}
	text := regexp.MustCompile(`(?s)<!--.*?-->|<\?.*?\?>`).ReplaceAllString(string(file), "")
	for _, name := range regexp.MustCompile(`<(\w+)|\b(\w+)="`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(tables, "`"+name[1]+name[2]+"`") {
			t.Errorf("no test is named for %s%s of confxml.xml", name[1], name[2])
		}
	}
}

// Tests that a document names are there, each part of TestA/b. "TestScripts/NAME" is none.
func TestTestsThatAreNamedExist(t *testing.T) {
	code, stories := sources(t)
	for name, d := range documents(t) {
		for _, found := range namedTest.FindAllStringSubmatch(d.text, -1) {
			if !strings.Contains(code, "\nfunc "+found[1]+"(") {
				t.Errorf("%s names %s, which is no test", name, found[1])
			}
			if sub := found[2]; sub != "" && sub != "NAME" && !strings.Contains(code, `"`+sub+`"`) && !slices.Contains(stories, sub) {
				t.Errorf("%s names %s/%s, which is no test", name, found[1], sub)
			}
		}
	}
}

// sources are all Go files as one text, and the names of the stories at the command line.
func sources(t *testing.T) (code string, stories []string) {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Ext(name) {
		case ".go":
			text, err := os.ReadFile(name)
			all.Write(text)
			return err
		case ".txtar":
			stories = append(stories, strings.TrimSuffix(e.Name(), ".txtar"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String(), stories
}

// Files of ours that a document names in code are there.
func TestFilesThatAreNamedExist(t *testing.T) {
	named := regexp.MustCompile("`((?:internal|cmd|bench)/[\\w./-]+)`")
	for name, d := range documents(t) {
		for _, found := range named.FindAllStringSubmatch(d.text, -1) {
			if _, err := os.Stat(filepath.Join(root, found[1])); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s names %s, which is not there", name, found[1])
			}
		}
	}
}
