package rsyncd

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"sersync/internal/receive"
)

// hosts reads a list of hosts.
func (r *reader) hosts(e entry) receive.Hosts {
	var hosts receive.Hosts
	for _, word := range list(e.value) {
		h, err := host(word)
		if err != nil {
			r.fail(e.place, "a host that is not understood:", word, err.Error())
			continue
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// host reads ADDRESS, ADDRESS/BITS, ADDRESS/MASK, or a name or a pattern for names.
func host(word string) (receive.Host, error) {
	address, mask, network := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(address)
	switch {
	case strings.HasPrefix(word, "@"):
		return receive.Host{}, fmt.Errorf("netgroups are not honoured; name its hosts instead")
	case err != nil && (network || strings.Contains(address, ":")):
		return receive.Host{}, fmt.Errorf("write ADDRESS, ADDRESS/BITS or ADDRESS/MASK")
	case err != nil:
		return name(word)
	case addr.Zone() != "":
		return receive.Host{}, fmt.Errorf("zones are not honoured; leave %%%s out", addr.Zone())
	}
	addr = addr.Unmap()
	bits := addr.BitLen()
	if network {
		if bits, err = maskBits(mask, addr); err != nil {
			return receive.Host{}, err
		}
	}
	prefix, err := addr.Prefix(bits)
	return receive.Host{Prefix: prefix}, err
}

// name reads a name, which DNS takes in any case.
func name(word string) (receive.Host, error) {
	if strings.Trim(word, "*") == "" {
		return receive.Host{Name: "*"}, nil
	}
	if _, err := path.Match(word, ""); err != nil {
		return receive.Host{}, fmt.Errorf("close the bracket")
	}
	return receive.Host{Name: strings.ToLower(strings.TrimSuffix(word, "."))}, nil
}

// maskBits is the length of the network of a mask, which is a number of bits or an address.
func maskBits(mask string, addr netip.Addr) (int, error) {
	if n, err := strconv.ParseUint(mask, 10, 8); err == nil {
		if int(n) > addr.BitLen() {
			return 0, fmt.Errorf("a network of this kind has at most %d bits", addr.BitLen())
		}
		return int(n), nil
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != addr.BitLen() {
		return 0, fmt.Errorf("write the mask as a number of bits, or as 255.255.255.0")
	}
	ones, size := net.IPMask(m.AsSlice()).Size()
	if size == 0 {
		return 0, fmt.Errorf("the ones of a mask stand together, in front")
	}
	return ones, nil
}
