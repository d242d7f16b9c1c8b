package receive

import (
	"net"
	"net/netip"
	"testing"
)

func networks(t *testing.T, words ...string) Hosts {
	t.Helper()
	var hosts Hosts
	for _, w := range words {
		if p, err := netip.ParsePrefix(w); err == nil {
			hosts = append(hosts, Host{Prefix: p})
		} else {
			hosts = append(hosts, Host{Name: w})
		}
	}
	return hosts
}

// The table is the one of rsyncd.conf(5), with its traps.
func TestHostsAllowAndDenyDecideAsRsyncDoes(t *testing.T) {
	const inside, outside = "172.16.1.31", "10.0.0.1"
	for _, c := range []struct {
		name            string
		allow, deny     []string
		inside, outside answer
	}{
		{"no list admits everybody", nil, nil, yes, yes},
		{"an allow list alone admits those in it", []string{"172.16.1.0/24"}, nil, yes, no},
		{"a deny list alone keeps those in it out", nil, []string{"10.0.0.0/8"}, yes, no},
		{"allow wins over deny", []string{"172.16.1.0/24"}, []string{"0.0.0.0/0"}, yes, no},
		{"who is in neither list is admitted", []string{"172.16.1.0/24"}, []string{"0.0.0.0/32"}, yes, yes},
		{"everybody", []string{"*"}, nil, yes, yes},
		{"nobody", nil, []string{"*"}, no, no},
		{"a name takes a look-up", []string{"web.example"}, nil, unsure, unsure},
		{"a name beside a network takes one for the others", []string{"172.16.1.0/24", "web.example"}, nil, yes, unsure},
		{"a denied name takes one", nil, []string{"*.example", "10.0.0.0/8"}, unsure, no},
		{"who is not denied need not be allowed by name", []string{"web.example"}, []string{"10.0.0.0/8"}, yes, unsure},
		{"IPv6 and IPv4 are apart", []string{"::/0"}, nil, no, no},
	} {
		r := HostRules{Allow: networks(t, c.allow...), Deny: networks(t, c.deny...)}
		for addr, want := range map[string]answer{inside: c.inside, outside: c.outside} {
			if got := r.byAddress(netip.MustParseAddr(addr)); got != want {
				t.Errorf("%s: %s: %d, want %d", c.name, addr, got, want)
			}
		}
	}
}

func TestNameOfAHostIsLookedUp(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	elsewhere := netip.MustParseAddr("192.0.2.7")
	for _, way := range []HostRules{{Reverse: true}, {Forward: true}} {
		way.Allow = networks(t, "localhost")
		if !way.byName(t.Context(), net.DefaultResolver, loopback) {
			t.Errorf("%+v: localhost is refused", way)
		}
		if way.byName(t.Context(), net.DefaultResolver, elsewhere) {
			t.Errorf("%+v: another address is taken for localhost", way)
		}
	}
	neither := HostRules{Allow: networks(t, "localhost")}
	if neither.byName(t.Context(), net.DefaultResolver, loopback) {
		t.Error("a name was looked up against the configuration")
	}
}
