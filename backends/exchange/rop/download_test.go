package rop

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// TestRecordedDownload reads a message as a caller does, from the recorded replies: the stream is the one that the recorder has
// joined, and a message is in it.
func TestRecordedDownload(t *testing.T) {
	all := recorded(t, "../testdata/mapi/12-fasttransfer.json")
	s := &script{t: t, answers: [][]byte{all[0].Response.buffer(t), all[1].Response.buffer(t)}}
	session := &Session{Transport: s}
	asked := build[*OpenMessage](t, all[0].Request.parts(t)[0])
	var b Batch
	message, _ := Open(&b, open(0), &OpenMessage{CodePageID: CodePageOfLogon, FolderID: asked.FolderID, MessageID: asked.MessageID})
	source, _ := Open(&b, message, &FastTransferSourceCopyTo{SendOptions: SendUnicode})
	if err := session.Do(t.Context(), &b); err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	want, err := Payloads(all[0].Request.buffer(t))
	if err != nil || !bytes.Equal(s.sent[0], want[0]) {
		t.Errorf("%x, %v, want %x", s.sent[0], err, want)
	}
	stream, err := io.ReadAll(session.Download(t.Context(), source))
	if err != nil || !bytes.Equal(stream, joined(t, "fx-copyto-05.json")) {
		t.Fatalf("%d octets, %v", len(stream), err)
	}
	m, err := fasttransfer.NewReader(bytes.NewReader(stream), fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
	if err != nil || m.Text(mapi.PidTagNormalizedSubject) != "Alternative: text and HTML" || len(m.Recipients) != 1 {
		t.Error(m, err)
	}
}

// joined is a stream of the recordings of package fasttransfer.
func joined(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../mapi/fasttransfer/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Stream string `json:"stream_hex"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return unhexed(t, r.Stream)
}
