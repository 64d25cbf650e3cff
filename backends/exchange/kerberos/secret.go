package kerberos

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Secret is what a user proves to be one with.
type Secret interface {
	// key makes the key of a principal.
	key(name types.PrincipalName, realm string, as derivation) (types.EncryptionKey, error)
	// types are the encryption types that there are keys of.
	types(name types.PrincipalName, realm string) []int32
}

// derivation says how a key is made of a password: ETYPE-INFO2-ENTRY, RFC 4120 §5.2.7.5.
type derivation struct {
	etype  int32
	salt   string
	params []byte // iterations, RFC 3962 §4
}

// derivations are those that a KDC names, of types that are taken, in its order.
func derivations(data types.PADataSequence, taken []int32) []derivation {
	var all []derivation
	for _, one := range data {
		if one.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		info, err := one.GetETypeInfo2()
		if err != nil {
			continue
		}
		for _, entry := range info {
			if slices.Contains(taken, entry.EType) {
				all = append(all, derivation{entry.EType, entry.Salt, entry.S2KParams})
			}
		}
	}
	return all
}

// Password is a user's.
type Password string

// String hides it.
func (Password) String() string { return "a password" }

// GoString hides it from %#v.
func (Password) GoString() string { return "a password" }

func (Password) types(types.PrincipalName, string) []int32 { return strong }

// iterationsMost bounds the work that a KDC asks for: Windows and MIT have 4,096 and 32,768.
const iterationsMost = 1 << 18

func (p Password) key(name types.PrincipalName, realm string, as derivation) (types.EncryptionKey, error) {
	et, err := crypto.GetEtype(as.etype)
	if err != nil {
		return types.EncryptionKey{}, err
	}
	params := et.GetDefaultStringToKeyParams()
	if as.params != nil {
		if len(as.params) != 4 {
			return types.EncryptionKey{}, errors.New("the KDC has parameters of a key that are no number")
		}
		if n := binary.BigEndian.Uint32(as.params); n == 0 || n > iterationsMost {
			return types.EncryptionKey{}, fmt.Errorf("the KDC wants a key of %d iterations", n)
		}
		params = hex.EncodeToString(as.params)
	}
	salt := as.salt
	if salt == "" {
		salt = name.GetSalt(realm)
	}
	key, err := et.StringToKey(string(p), salt, params)
	return types.EncryptionKey{KeyType: as.etype, KeyValue: key}, err
}

// Keytab is a file of keys, as ktpass and ktutil write.
type Keytab struct{ table *keytab.Keytab }

// LoadKeytab reads a keytab.
func LoadKeytab(path string) (Keytab, error) {
	table, err := keytab.Load(path)
	if err != nil {
		return Keytab{}, fmt.Errorf("the keytab: %w", err)
	}
	return Keytab{table}, nil
}

// String hides it.
func (Keytab) String() string { return "a keytab" }

// GoString hides it from %#v.
func (Keytab) GoString() string { return "a keytab" }

func (k Keytab) types(name types.PrincipalName, realm string) []int32 {
	return slices.DeleteFunc(slices.Clone(strong), func(t int32) bool {
		_, _, err := k.table.GetEncryptionKey(name, realm, 0, t)
		return err != nil
	})
}

func (k Keytab) key(name types.PrincipalName, realm string, as derivation) (types.EncryptionKey, error) {
	key, _, err := k.table.GetEncryptionKey(name, realm, 0, as.etype)
	return key, err
}
