//go:build !cgo

package receive

// libraries are what this program needs of the disk to start: nothing. So it can start where there is nothing.
var libraries []string
