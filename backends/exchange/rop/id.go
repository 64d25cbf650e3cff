package rop

import "fmt"

// ID says which operation it is, MS-OXCROPS §2.2.2.
type ID uint8

// The operations that are here.
const (
	idRelease                    ID = 0x01
	idOpenFolder                 ID = 0x02
	idOpenMessage                ID = 0x03
	idGetHierarchyTable          ID = 0x04
	idGetContentsTable           ID = 0x05
	idCreateMessage              ID = 0x06
	idGetPropertiesSpecific      ID = 0x07
	idGetPropertiesAll           ID = 0x08
	idGetPropertiesList          ID = 0x09
	idSetProperties              ID = 0x0A
	idDeleteProperties           ID = 0x0B
	idSaveChangesMessage         ID = 0x0C
	idRemoveAllRecipients        ID = 0x0D
	idModifyRecipients           ID = 0x0E
	idReadRecipients             ID = 0x0F
	idReloadCachedInformation    ID = 0x10
	idSetMessageReadFlag         ID = 0x11
	idSetColumns                 ID = 0x12
	idSortTable                  ID = 0x13
	idRestrict                   ID = 0x14
	idQueryRows                  ID = 0x15
	idGetStatus                  ID = 0x16
	idQueryPosition              ID = 0x17
	idSeekRow                    ID = 0x18
	idCreateBookmark             ID = 0x1B
	idCreateFolder               ID = 0x1C
	idDeleteFolder               ID = 0x1D
	idDeleteMessages             ID = 0x1E
	idGetAttachmentTable         ID = 0x21
	idOpenAttachment             ID = 0x22
	idCreateAttachment           ID = 0x23
	idSaveChangesAttachment      ID = 0x25
	idGetReceiveFolder           ID = 0x27
	idRegisterNotification       ID = 0x29
	idNotify                     ID = 0x2A
	idOpenStream                 ID = 0x2B
	idReadStream                 ID = 0x2C
	idWriteStream                ID = 0x2D
	idSeekStream                 ID = 0x2E
	idSetStreamSize              ID = 0x2F
	idSubmitMessage              ID = 0x32
	idMoveCopyMessages           ID = 0x33
	idAbortSubmit                ID = 0x34
	idQueryColumnsAll            ID = 0x37
	idLongTermIDFromID           ID = 0x43
	idIDFromLongTermID           ID = 0x44
	idOpenEmbeddedMessage        ID = 0x46
	idSetSpooler                 ID = 0x47
	idSpoolerLockMessage         ID = 0x48
	idGetAddressTypes            ID = 0x49
	idTransportSend              ID = 0x4A
	idFastTransferCopyMessages   ID = 0x4B
	idFastTransferCopyTo         ID = 0x4D
	idFastTransferGetBuffer      ID = 0x4E
	idFindRow                    ID = 0x4F
	idFastTransferConfigure      ID = 0x53
	idFastTransferPutBuffer      ID = 0x54
	idGetNamesFromPropertyIDs    ID = 0x55
	idGetPropertyIDsFromNames    ID = 0x56
	idEmptyFolder                ID = 0x58
	idCommitStream               ID = 0x5D
	idGetStreamSize              ID = 0x5E
	idSetReadFlags               ID = 0x66
	idGetReceiveFolderTable      ID = 0x68
	idFastTransferCopyProperties ID = 0x69
	idGetTransportFolder         ID = 0x6D
	idPending                    ID = 0x6E
	idOptionsData                ID = 0x6F
	idSynchronizationConfigure   ID = 0x70
	idUploadStateStreamBegin     ID = 0x75
	idUploadStateStreamContinue  ID = 0x76
	idUploadStateStreamEnd       ID = 0x77
	idResetTable                 ID = 0x81
	idHardDeleteMessages         ID = 0x91
	idBackoff                    ID = 0xF9
	idLogon                      ID = 0xFE
	idBufferTooSmall             ID = 0xFF
)

var idNames = map[ID]string{
	idRelease: "RopRelease", idOpenFolder: "RopOpenFolder", idOpenMessage: "RopOpenMessage",
	idGetHierarchyTable: "RopGetHierarchyTable", idGetContentsTable: "RopGetContentsTable", idCreateMessage: "RopCreateMessage",
	idGetPropertiesSpecific: "RopGetPropertiesSpecific", idGetPropertiesAll: "RopGetPropertiesAll",
	idGetPropertiesList: "RopGetPropertiesList", idSetProperties: "RopSetProperties", idDeleteProperties: "RopDeleteProperties",
	idSaveChangesMessage: "RopSaveChangesMessage", idRemoveAllRecipients: "RopRemoveAllRecipients",
	idModifyRecipients: "RopModifyRecipients", idReadRecipients: "RopReadRecipients",
	idReloadCachedInformation: "RopReloadCachedInformation", idSetMessageReadFlag: "RopSetMessageReadFlag",
	idSetColumns: "RopSetColumns", idSortTable: "RopSortTable", idRestrict: "RopRestrict", idQueryRows: "RopQueryRows",
	idGetStatus: "RopGetStatus", idQueryPosition: "RopQueryPosition", idSeekRow: "RopSeekRow",
	idCreateBookmark: "RopCreateBookmark", idCreateFolder: "RopCreateFolder", idDeleteFolder: "RopDeleteFolder",
	idDeleteMessages: "RopDeleteMessages", idGetAttachmentTable: "RopGetAttachmentTable", idOpenAttachment: "RopOpenAttachment",
	idCreateAttachment: "RopCreateAttachment", idSaveChangesAttachment: "RopSaveChangesAttachment",
	idGetReceiveFolder: "RopGetReceiveFolder", idRegisterNotification: "RopRegisterNotification", idNotify: "RopNotify",
	idOpenStream: "RopOpenStream", idReadStream: "RopReadStream", idWriteStream: "RopWriteStream", idSeekStream: "RopSeekStream",
	idSetStreamSize: "RopSetStreamSize", idSubmitMessage: "RopSubmitMessage", idMoveCopyMessages: "RopMoveCopyMessages",
	idAbortSubmit: "RopAbortSubmit", idQueryColumnsAll: "RopQueryColumnsAll", idLongTermIDFromID: "RopLongTermIdFromId",
	idIDFromLongTermID: "RopIdFromLongTermId", idOpenEmbeddedMessage: "RopOpenEmbeddedMessage", idSetSpooler: "RopSetSpooler",
	idSpoolerLockMessage: "RopSpoolerLockMessage", idGetAddressTypes: "RopGetAddressTypes", idTransportSend: "RopTransportSend",
	idFastTransferCopyMessages: "RopFastTransferSourceCopyMessages", idFastTransferCopyTo: "RopFastTransferSourceCopyTo",
	idFastTransferGetBuffer: "RopFastTransferSourceGetBuffer", idFindRow: "RopFindRow",
	idFastTransferConfigure: "RopFastTransferDestinationConfigure", idFastTransferPutBuffer: "RopFastTransferDestinationPutBuffer",
	idGetNamesFromPropertyIDs: "RopGetNamesFromPropertyIds", idGetPropertyIDsFromNames: "RopGetPropertyIdsFromNames",
	idEmptyFolder: "RopEmptyFolder", idCommitStream: "RopCommitStream", idGetStreamSize: "RopGetStreamSize",
	idSetReadFlags: "RopSetReadFlags", idGetReceiveFolderTable: "RopGetReceiveFolderTable",
	idFastTransferCopyProperties: "RopFastTransferSourceCopyProperties", idGetTransportFolder: "RopGetTransportFolder",
	idPending: "RopPending", idOptionsData: "RopOptionsData", idSynchronizationConfigure: "RopSynchronizationConfigure",
	idUploadStateStreamBegin:    "RopSynchronizationUploadStateStreamBegin",
	idUploadStateStreamContinue: "RopSynchronizationUploadStateStreamContinue",
	idUploadStateStreamEnd:      "RopSynchronizationUploadStateStreamEnd",
	idResetTable:                "RopResetTable", idHardDeleteMessages: "RopHardDeleteMessages", idBackoff: "RopBackoff", idLogon: "RopLogon",
	idBufferTooSmall: "RopBufferTooSmall",
}

// String returns the name of the operation, such as RopLogon.
func (id ID) String() string {
	if name, ok := idNames[id]; ok {
		return name
	}
	return fmt.Sprintf("the operation 0x%02x", uint8(id))
}
