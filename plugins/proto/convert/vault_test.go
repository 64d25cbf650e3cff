package convert

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// TestVault: what the vault has crosses as it is, an age below 0 too, and times that are none are refused.
func TestVault(t *testing.T) {
	for _, e := range []vault.Entry{{}, {Value: []byte("x"), Version: 7, Age: time.Hour}, {Value: []byte("x"), Version: 1, Age: -time.Hour}} {
		same(t, VaultEntryFromProto(crossed(t, VaultEntryToProto(e))), e)
	}
	for _, c := range []vault.Change{{Value: []byte("x")}, {Value: []byte("x"), Version: 3, Keep: time.Hour, Lease: "l"}} {
		got, err := VaultPutFromProto(crossed(t, VaultPutToProto(c)))
		if err != nil {
			t.Error(err)
		}
		same(t, got, c)
	}
	for _, keep := range []*durationpb.Duration{durationpb.New(-1), {}, {Seconds: 1 << 62}, durationpb.New(vaultKeepMost + 1)} {
		if c, err := VaultPutFromProto(&pb.VaultPut{Value: []byte("x"), Keep: keep}); err == nil {
			t.Errorf("%v is taken as %v", keep, c.Keep)
		}
	}
	for _, life := range []*durationpb.Duration{nil, {Seconds: 1 << 62}} {
		if d, err := VaultLifeFromProto(life); err == nil {
			t.Errorf("%v is taken as %v", life, d)
		}
	}
	for want, s := range map[bool]backends.Settings{true: {Vault: &vault.Memory{}}, false: {Vault: &vault.Memory{}, Check: true}} {
		if m, err := SettingsToProto(s); err != nil || m.GetVault() != want {
			t.Errorf("the vault of %+v is offered: %t, %v", s, m.GetVault(), err)
		}
	}
}
