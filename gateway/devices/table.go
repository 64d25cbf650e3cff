package devices

import (
	"cmp"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
)

// table is all devices at one version. It is not changed: another one takes its place.
type table struct {
	version      int64
	byName       map[string]*Device
	fingerprints map[string]*Device
	authorities  []authority
	networks     []network // the smallest first
}

type network struct {
	netip.Prefix
	device *Device
}

// authority is one whose certificates for a name are a device's.
type authority struct {
	pool   *x509.CertPool
	name   string
	device *Device
}

func newTable(version int64, all []*Device) *table {
	t := &table{version: version, byName: make(map[string]*Device), fingerprints: make(map[string]*Device)}
	for _, d := range all {
		t.byName[d.Name] = d
		switch {
		case d.Proof == ByNetwork:
			for _, n := range d.Networks {
				t.networks = append(t.networks, network{n, d})
			}
		case d.Proof != ByCertificate:
		case d.Certificate.Fingerprint != "":
			t.fingerprints[d.Certificate.Fingerprint] = d
		default:
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(d.Certificate.Authority))
			t.authorities = append(t.authorities, authority{pool, d.Certificate.Name, d})
		}
	}
	slices.SortFunc(t.networks, func(a, b network) int { return cmp.Compare(b.Bits(), a.Bits()) })
	return t
}

// now is a device as it is in this table, under whatever name: by its password's id, which is no other device's, or, where that was
// changed, by its name. nil: it is not there. That it was added says less, as devices are added within a second.
func (t *table) now(was *Device) *Device {
	named := t.byName[was.Name]
	if named != nil && named.Password == was.Password {
		return named
	}
	for _, d := range t.byName {
		if d.Password == was.Password {
			return d
		}
	}
	if named != nil && named.Created.Equal(was.Created) {
		return named
	}
	return nil // another one may have got the name since
}

// certified is the device whose certificate this is, good or not; nil: it is nobody's.
func (t *table) certified(certificates []*x509.Certificate) *Device {
	if len(certificates) == 0 {
		return nil
	}
	if d := t.fingerprints[fingerprint(certificates[0])]; d != nil {
		return d
	}
	for _, a := range t.authorities {
		if leaf := certificates[0]; named(leaf, a.name) && (a.signed(certificates, leaf.NotBefore) || a.signed(certificates, leaf.NotAfter)) {
			return a.device
		}
	}
	return nil
}

// named says whether a certificate is for a name.
func named(c *x509.Certificate, name string) bool {
	is := func(text string) bool { return strings.EqualFold(text, name) }
	return is(c.Subject.CommonName) || slices.ContainsFunc(c.DNSNames, is) || slices.ContainsFunc(c.EmailAddresses, is)
}

// signed says whether the authority has signed a client's certificate that is good at a time (RFC 5280 §6).
func (a *authority) signed(certificates []*x509.Certificate, at time.Time) bool {
	between := x509.NewCertPool()
	for _, c := range certificates[1:] {
		between.AddCert(c)
	}
	_, err := certificates[0].Verify(x509.VerifyOptions{
		Roots: a.pool, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// valid says why a device's certificate is not good now, if it is not. One whose authority counts is good as long as
// that says so.
func (t *table) valid(d *Device, certificates []*x509.Certificate, now time.Time) error {
	leaf, day := certificates[0], ""
	switch {
	case now.After(leaf.NotAfter):
		day = "has expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		day = "is not good before " + leaf.NotBefore.UTC().Format(time.DateOnly)
	case d.Certificate.Fingerprint == "" && !slices.ContainsFunc(t.authorities, func(a authority) bool { return a.device == d && a.signed(certificates, now) }):
		day = "is not good: its authority's has expired"
	default:
		return nil
	}
	return backends.Fail(backends.Permanent, "the certificate of device %s %s", d.Name, day).
		Say("the certificate of the device " + d.Name + " " + day).WithCode("5.7.1")
}

// at is the device with the smallest network around an address; nil: none has it.
func (t *table) at(address netip.Addr) *Device {
	address = address.Unmap().WithZone("")
	i := slices.IndexFunc(t.networks, func(n network) bool { return n.Contains(address) })
	if i < 0 {
		return nil
	}
	return t.networks[i].device
}

// entry is a device as the login has it.
func (d *Device) entry() *login.AppPassword {
	return &login.AppPassword{
		ID: d.Password, Store: d.Store, Account: d.Account, Owner: d.accountID, Protocols: d.Protocols, Networks: d.Networks,
		Created: d.Created, Expires: d.Expires, LastUsed: d.LastUsed, LastFrom: d.LastFrom,
		Device: d.Name, Wordless: d.Proof != ByPassword, Disabled: d.Disabled, Legacy: d.Legacy,
	}
}
