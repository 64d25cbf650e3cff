package kerberos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
)

// Config says where the KDCs are.
type Config struct {
	// Realm is that of the users, in the case that the KDC has it in: SAKES.EXAMPLE.
	Realm string
	// KDCs are those of the realm, host or host:port. Empty: those of File, or of DNS (RFC 4120 §7.2.3.2).
	KDCs []string
	// File is a krb5.conf; empty: none is read. Of it the realms and their KDCs count.
	File string
	// Timeout is how long a KDC may take [10 s].
	Timeout time.Duration
}

// Kerberos gets tickets. Any number of goroutines may use it.
type Kerberos struct {
	config Config
	known  map[string][]string // KDCs by realm
	ask    *config.Config      // what is asked of a KDC
	answer *config.Config      // of a ticket for a service

	mu   sync.Mutex
	away map[string]time.Time // realms whose KDCs were not to be reached, and until when nobody tries
}

// New makes one. No KDC is asked.
func New(c Config) (*Kerberos, error) {
	k := &Kerberos{config: c, known: make(map[string][]string), away: make(map[string]time.Time)}
	if c.Timeout == 0 {
		k.config.Timeout = 10 * time.Second
	}
	if c.File != "" {
		file, err := config.Load(c.File)
		if err != nil {
			return nil, fmt.Errorf("the Kerberos configuration: %w", err)
		}
		for _, realm := range file.Realms {
			k.known[realm.Realm] = realm.KDC
		}
		if c.Realm == "" {
			k.config.Realm = file.LibDefaults.DefaultRealm
		}
	}
	if k.config.Realm == "" {
		return nil, errors.New("there is no realm")
	}
	if len(c.KDCs) > 0 {
		k.known[k.config.Realm] = c.KDCs
	}
	k.ask, k.answer = asked(strong), asked(append(strong[:len(strong):len(strong)], etypeID.RC4_HMAC))
	k.answer.LibDefaults.Canonicalize = true // referrals to another realm, RFC 6806 §8
	return k, nil
}

// strong are the encryption types of keys that are made of passwords.
var strong = []int32{
	etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA256_128, etypeID.AES128_CTS_HMAC_SHA1_96,
}

// asked is a configuration of gokrb5's, for its requests.
func asked(types []int32) *config.Config {
	c := config.New()
	c.LibDefaults.DefaultTktEnctypeIDs, c.LibDefaults.DefaultTGSEnctypeIDs = types, types
	c.LibDefaults.TicketLifetime = 10 * time.Hour
	return c
}

const port = "88"

// kdcs are the addresses of a realm's KDCs.
func (k *Kerberos) kdcs(ctx context.Context, realm string) ([]string, error) {
	var all []string
	for _, address := range k.known[realm] {
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), port)
		}
		all = append(all, address)
	}
	if len(all) > 0 {
		return all, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", "tcp", realm)
	if err != nil {
		return nil, fmt.Errorf("the KDCs of %s in DNS: %w", realm, err)
	}
	for _, one := range records[:min(len(records), kdcsMost)] {
		all = append(all, net.JoinHostPort(strings.TrimSuffix(one.Target, "."), strconv.Itoa(int(one.Port))))
	}
	return all, nil
}

// kdcsMost is how many KDCs that DNS names are tried.
const kdcsMost = 10
