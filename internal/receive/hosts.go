package receive

import (
	"context"
	"net"
	"net/netip"
	"path"
	"strings"
)

// HostRules say who may connect, as `hosts allow` and `hosts deny` of rsyncd.conf(5): who is allowed may; else who is
// denied may not; who is in neither list may, unless there is a list of the allowed and none of the denied.
type HostRules struct {
	Allow, Deny Hosts
	// Reverse and Forward say which way names may be looked up.
	Reverse, Forward bool
}

// Hosts are patterns of hosts.
type Hosts []Host

// Host is one pattern.
type Host struct {
	// Prefix is a network, or one address; not valid where a name is meant.
	Prefix netip.Prefix
	// Name is a name, or a pattern of the shell for names. "*" is everybody, named or not.
	Name string
}

// answer is what can be said of a host.
type answer uint8

const (
	no answer = iota
	yes
	// unsure: it takes the name of the host.
	unsure
)

// byAddress answers as far as the address alone tells.
func (r HostRules) byAddress(addr netip.Addr) answer {
	return r.decide(func(h Hosts) answer { return h.byAddress(addr) })
}

// byName answers for good; it asks the resolver where it takes a name. A name that cannot be looked up matches nothing.
func (r HostRules) byName(ctx context.Context, resolver *net.Resolver, addr netip.Addr) bool {
	var names []string
	asked := false
	return r.decide(func(h Hosts) answer {
		by := h.byAddress(addr)
		if by != unsure {
			return by
		}
		if r.Reverse && !asked {
			names, asked = reverse(ctx, resolver, addr), true
		}
		for _, host := range h {
			if host.Name != "" && (host.named(names) || r.Forward && host.resolves(ctx, resolver, addr)) {
				return yes
			}
		}
		return no
	}) == yes
}

func (r HostRules) decide(has func(Hosts) answer) answer {
	if len(r.Allow) == 0 && len(r.Deny) == 0 {
		return yes
	}
	allowed := no
	if len(r.Allow) > 0 {
		if allowed = has(r.Allow); allowed == yes || allowed == no && len(r.Deny) == 0 {
			return allowed
		}
	}
	denied := no
	if len(r.Deny) > 0 {
		denied = has(r.Deny)
	}
	switch {
	case allowed == unsure && (denied == yes || len(r.Deny) == 0), denied == unsure:
		return unsure
	case denied == yes:
		return no
	}
	return yes
}

func (h Hosts) byAddress(addr netip.Addr) answer {
	found := no
	for _, host := range h {
		switch {
		case host.Name == "*", host.Prefix.IsValid() && host.Prefix.Contains(addr):
			return yes
		case host.Name != "":
			found = unsure
		}
	}
	return found
}

// named reports whether one of the names that the host has is meant.
func (h Host) named(names []string) bool {
	for _, name := range names {
		if ok, err := path.Match(h.Name, name); ok && err == nil {
			return true
		}
	}
	return false
}

// resolves reports whether the name leads to the address.
func (h Host) resolves(ctx context.Context, resolver *net.Resolver, addr netip.Addr) bool {
	return !strings.ContainsAny(h.Name, "*?[") && leadsTo(ctx, resolver, h.Name, addr)
}

// reverse are the names of an address, in lower case. Who owns the address can claim any name, so only those count that lead back to it.
func reverse(ctx context.Context, resolver *net.Resolver, addr netip.Addr) []string {
	claimed, err := resolver.LookupAddr(ctx, addr.String())
	if err != nil {
		return nil
	}
	var names []string
	for _, name := range claimed[:min(len(claimed), 8)] {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if leadsTo(ctx, resolver, name, addr) {
			names = append(names, name)
		}
	}
	return names
}

func leadsTo(ctx context.Context, resolver *net.Resolver, name string, addr netip.Addr) bool {
	addrs, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if a.Unmap() == addr {
			return true
		}
	}
	return false
}
