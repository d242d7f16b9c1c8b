package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

var errSize = errors.New(`write a size as "512KiB", "64MiB" or "1GiB" (or KB, MB, GB for powers of 1000)`)

var errSchedule = errors.New(`write five fields as cron has them, minute, hour, day, month, day of the week: "0 3 * * *" is at three each night`)

// sizeUnits are the units of sizes. As everywhere but in rsync, KB is 1000 and KiB is 1024.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"k", 1 << 10},
	{"m", 1 << 20},
	{"g", 1 << 30},
	{"t", 1 << 40},
	{"b", 1},
	{"", 1},
}

// parseSize reads "64MiB", "10 MB" or plain bytes.
func parseSize(s string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(s))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(lower, u.name)
		if !ok {
			continue
		}
		n, err := parseNumber(strings.TrimSpace(number))
		if err != nil || n*u.bytes >= math.MaxInt64 {
			return 0, errSize
		}
		return int64(n * u.bytes), nil
	}
	return 0, errSize
}

// parseLarge reads the size from which a file is large.
func parseLarge(s string) (int64, error) {
	n, err := parseSize(s)
	if err == nil && n < 1<<20 {
		err = errors.New("the least is 1MiB")
	}
	return n, err
}

// parseNumber reads digits with at most one point; no sign, exponent, infinity or underscore.
func parseNumber(s string) (float64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, errSize
	}
	return strconv.ParseFloat(s, 64)
}

// parseBandwidth reads "10MB/s"; "0" or "none" is no limit.
func parseBandwidth(s string) (int64, error) {
	if s == "none" {
		return 0, nil
	}
	n, err := parseSize(strings.TrimSuffix(strings.TrimSpace(s), "/s"))
	if err != nil {
		return 0, errors.New(`write a bandwidth as "10MB/s" or "500KiB/s"; "none" for no limit`)
	}
	// rsync counts in units of 1024 bytes, and takes 0 for no limit.
	if n > 0 && n < 1024 {
		return 0, errors.New("the least is 1KiB/s")
	}
	return n, nil
}

// parseRsyncRate reads a value of rsync's --bwlimit, whose unit is 1024 bytes unless it says otherwise.
func parseRsyncRate(s string) (int64, error) {
	if n, err := parseNumber(s); err == nil {
		return int64(n * 1024), nil
	}
	return parseSize(s)
}

// parseDuration reads "10s", "1m30s", "500ms" between low and high.
func parseDuration(s string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil && s != "0" {
		return 0, errors.New(`write a duration as "10s", "5m", "1h30m" or "500ms"`)
	}
	if d < low || d > high {
		return 0, fmt.Errorf("it must be from %s to %s", shortDuration(low), shortDuration(high))
	}
	return d, nil
}

// maxDays is about a hundred years.
const maxDays = 36500

// parseDays reads "30d", or "0" for none.
func parseDays(s string) (int, error) {
	s = strings.TrimSpace(s)
	if s == "0" {
		return 0, nil
	}
	number, ok := strings.CutSuffix(s, "d")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || strings.ContainsAny(number, "+-") || n > maxDays {
		return 0, fmt.Errorf("write whole days as \"30d\", at most \"%dd\"; \"0\" for none", maxDays)
	}
	return n, nil
}

// ParseSchedule reads five fields of cron, or a word as @daily.
func ParseSchedule(s string) (cron.Schedule, error) {
	// The library takes a time zone as well, and panics where nothing follows it; and @every, which is "every".
	if s = strings.TrimSpace(s); strings.Contains(s, "TZ=") || strings.HasPrefix(s, "@every") {
		return nil, errSchedule
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return nil, errSchedule
	}
	if schedule.Next(time.Now()).IsZero() {
		return nil, errors.New("there is no such day in the next five years")
	}
	return schedule, nil
}

// shortDuration is a duration without its parts that are zero: "1h" for "1h0m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseInt reads a whole number between low and high.
func parseInt(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("write a whole number from %d to %d", low, high)
	}
	return n, nil
}
