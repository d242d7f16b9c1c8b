package receive

import (
	"fmt"
	"log/slog"
	"path"
	"time"

	"sersync/internal/filter"
	"sersync/internal/perm"
)

// Config is what a receiver does. Which file it was read from is no business of this package.
type Config struct {
	// Listen is HOST:PORT, with an empty host for all addresses of the machine.
	Listen string
	// PIDFile and LogFile may be empty.
	PIDFile, LogFile string
	Certificates     Certificates
	Modules          []Module
}

// module is the one of that name, or nil.
func (c *Config) module(name string) *Module {
	for i := range c.Modules {
		if c.Modules[i].Name == name {
			return &c.Modules[i]
		}
	}
	return nil
}

// Module is a directory that clients may send to, and how.
type Module struct {
	Name string
	// Path is absolute.
	Path string
	// Place is where the module stands, as FILE:LINE.
	Place string

	// User is whose rights the module has, for a receiver that runs as root; nil for another one, and it is its own.
	User *User

	ReadOnly bool
	// WriteOnly says that nothing of the trash can be brought back by a client.
	WriteOnly bool
	// ReadOnlyPlace is the line to change so that the module can be written.
	ReadOnlyPlace string
	// List says that clients that may not log in are told that the module exists.
	List bool
	// RefuseRemovals says that nothing is removed here.
	RefuseRemovals bool

	// Anonymous says that whoever reaches the module may log in, with an empty secret.
	Anonymous bool
	// Certified says that users have no secrets: the certificate of a client says which one it is.
	Certified bool
	// Rules are asked in their order; the first that matches a user decides, and who is matched by none may not log in.
	Rules []UserRule
	// Secrets are those of users, GroupSecrets of all in a group who have none of their own.
	Secrets, GroupSecrets map[string]Secret

	Hosts HostRules
	// MaxConnections is 0 for any number, negative for none.
	MaxConnections int
	// Timeout ends a session whose client is silent; 0 never.
	Timeout time.Duration

	// Exclude are names that clients can neither write nor remove.
	Exclude []filter.Rule
	// MungeSymlinks has symlinks stored so that nobody can follow them.
	MungeSymlinks bool
	// FakeSuper has owners, modes, devices and symlinks stored beside the files, as rsync does.
	FakeSuper bool
	// Chmod is done to the mode of all that comes in.
	Chmod perm.Chmod
}

// User is a user and his groups, by number.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Secret is a password. It is printed nowhere.
type Secret string

// String keeps the secret out of texts.
func (Secret) String() string { return "(secret)" }

// GoString keeps the secret out of texts.
func (Secret) GoString() string { return "(secret)" }

// LogValue keeps the secret out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// Access is what a user may do in a module.
type Access uint8

const (
	// AsModule is what ReadOnly of the module says.
	AsModule Access = iota
	ReadWrite
	ReadOnly
	Denied
)

// UserRule is one of `auth users`.
type UserRule struct {
	// Pattern is a name, or a pattern of the shell for names; with Group, for those of groups, and Members are all users who are in one
	// that matches, with the name of it.
	Pattern string
	Group   bool
	Members map[string]string
	Access  Access
	// Place is where it stands, as FILE:LINE.
	Place string
}

// matches reports whether a rule is for a user.
func (r *UserRule) matches(user string) bool {
	if r.Group {
		_, ok := r.Members[user]
		return ok
	}
	ok, err := path.Match(r.Pattern, user)
	return ok && err == nil
}

// rule is the one that decides on a user; nil when none does.
func (m *Module) rule(user string) *UserRule {
	for i := range m.Rules {
		if m.Rules[i].matches(user) {
			return &m.Rules[i]
		}
	}
	return nil
}

// rights are what a user may do, and if he may not write, what to tell him of it.
func (m *Module) rights(user string) (allowed bool, readOnly string) {
	if m.Anonymous {
		return true, m.readOnly()
	}
	r := m.rule(user)
	switch {
	case r == nil || r.Access == Denied:
		return false, ""
	case r.Access == ReadWrite:
		return true, ""
	case r.Access == ReadOnly:
		return true, fmt.Sprintf("module %q is read only for user %q: %s says so with :ro", m.Name, user, r.Place)
	}
	return true, m.readOnly()
}

func (m *Module) readOnly() string {
	if !m.ReadOnly {
		return ""
	}
	return fmt.Sprintf("module %q is read only: set \"read only = no\" in %s", m.Name, m.ReadOnlyPlace)
}

// secret is what a user has to prove that he knows; empty for one who cannot log in. A login can be checked against one secret, so who has one
// of his own cannot use that of his group.
func (m *Module) secret(user string) Secret {
	r := m.rule(user)
	if r == nil || r.Access == Denied {
		return ""
	}
	if own := m.Secrets[user]; own != "" || !r.Group {
		return own
	}
	return m.GroupSecrets[r.Members[user]]
}

// Nobody is the number of the user and of the group without rights, where no name says so.
const Nobody = 65534
