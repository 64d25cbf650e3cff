package fasttransfer

import "github.com/dipylon/dipylon/backends/mapi"

// markers delimit what is in a stream, MS-OXCFXICS §2.2.4.1.4. No value is behind them.
var markers = map[mapi.Tag]bool{
	mapi.PidTagStartTopFld: true, mapi.PidTagStartSubFld: true, mapi.PidTagEndFolder: true,
	mapi.PidTagStartMessage: true, mapi.PidTagStartFAIMsg: true, mapi.PidTagEndMessage: true,
	mapi.PidTagStartEmbed: true, mapi.PidTagEndEmbed: true,
	mapi.PidTagStartRecip: true, mapi.PidTagEndToRecip: true,
	mapi.PidTagNewAttach: true, mapi.PidTagEndAttach: true,
	mapi.PidTagIncrSyncChg: true, mapi.PidTagIncrSyncChgPartial: true, mapi.PidTagIncrSyncDel: true,
	mapi.PidTagIncrSyncEnd: true, mapi.PidTagIncrSyncRead: true, mapi.PidTagIncrSyncMessage: true,
	mapi.PidTagIncrSyncStateBegin: true, mapi.PidTagIncrSyncStateEnd: true,
	incrSyncProgressMode: true, incrSyncProgressPerMsg: true,
	mapi.PidTagIncrSyncGroupInfo: true, mapi.PidTagFXErrorInfo: true,
}

// Markers that are no properties of MS-OXPROPS.
const (
	incrSyncProgressMode   mapi.Tag = 0x4074000B
	incrSyncProgressPerMsg mapi.Tag = 0x4075000B
)

// metaDnPrefix is a property of the stream that is none of MS-OXPROPS.
const metaDnPrefix mapi.Tag = 0x4008001E

// isMeta says whether it is a property of the stream, and not of what is in it, MS-OXCFXICS §2.2.4.1.5.
func isMeta(t mapi.Tag) bool {
	switch t {
	case mapi.PidTagEcWarning, mapi.PidTagFXDelProp, mapi.PidTagNewFXFolder, metaDnPrefix:
		return true
	}
	return false
}
