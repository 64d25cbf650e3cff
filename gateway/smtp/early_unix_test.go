//go:build unix

package smtp

import (
	"io"
	"net"
	"testing"
	"time"
)

// Whether something has come is known without waiting, and nothing of it is lost.
func TestIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !isSilent(conn) {
		t.Error("nothing was said, and it is not silent")
	}
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil { // so that it has come
		t.Fatal(err)
	}
	if !isSilent(conn) {
		t.Error("all was read, and it is not silent")
	}
	if _, err := io.WriteString(client, "EHLO bot\r\n"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); isSilent(conn); {
		if time.Now().After(end) {
			t.Fatal("what has come is not seen")
		}
	}
	_ = client.Close()
	if all, err := io.ReadAll(conn); string(all) != "EHLO bot\r\n" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	if isSilent(conn) {
		t.Error("the end is not seen")
	}
	if pipe, _ := net.Pipe(); isSilent(pipe) {
		t.Error("a pipe does not tell")
	}
}
