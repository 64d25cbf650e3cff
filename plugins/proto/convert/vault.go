package convert

import (
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dipylon/dipylon/backends/vault"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// VaultEntryToProto makes an entry of the vault ready for the wire.
func VaultEntryToProto(e vault.Entry) *pb.VaultEntry {
	return &pb.VaultEntry{Value: e.Value, Version: e.Version, Age: durationpb.New(e.Age)}
}

// VaultEntryFromProto reads an entry.
func VaultEntryFromProto(m *pb.VaultEntry) vault.Entry {
	e := vault.Entry{Version: m.GetVersion(), Age: m.GetAge().AsDuration()}
	if len(m.GetValue()) > 0 {
		e.Value = m.GetValue()
	}
	return e
}

// VaultPutToProto makes a change of an entry ready for the wire.
func VaultPutToProto(c vault.Change) *pb.VaultPut {
	return &pb.VaultPut{Value: c.Value, Version: c.Version, Keep: durationToProto(c.Keep), Lease: c.Lease}
}

// vaultKeepMost bounds how long an entry may be kept that goes by itself.
const vaultKeepMost = 10 * 365 * 24 * time.Hour

var errVaultDuration = errors.New("a duration that is none, or out of bounds")

// VaultPutFromProto reads a change of an entry. The vault judges the rest.
func VaultPutFromProto(m *pb.VaultPut) (vault.Change, error) {
	c := vault.Change{Value: m.GetValue(), Version: m.GetVersion(), Lease: m.GetLease()}
	if keep := m.GetKeep(); keep != nil {
		c.Keep = keep.AsDuration()
		if !keep.IsValid() || c.Keep <= 0 || c.Keep > vaultKeepMost {
			return vault.Change{}, errVaultDuration
		}
	}
	return c, nil
}

// VaultLifeFromProto reads for how long a lease is asked for.
func VaultLifeFromProto(life *durationpb.Duration) (time.Duration, error) {
	if !life.IsValid() {
		return 0, errVaultDuration
	}
	return life.AsDuration(), nil
}
