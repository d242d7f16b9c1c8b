//go:build cgo

package receive

// libraries are what this program needs of the disk to start when it is built with cgo, as for the race detector, which
// looks at its own memory in /proc. So it can start in no other root than that of the machine.
var libraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/proc"}
