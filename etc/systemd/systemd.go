// Package systemd holds the unit of sersync, for the packages and for those who install it without one.
package systemd

import _ "embed"

//go:embed sersync.service
var unit string

// Unit is the text of sersync.service.
func Unit() string { return unit }
