package dcerpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"
)

// MapperPort is where servers have the endpoint mapper, MS-RPCE §2.1.1.1.
const MapperPort = "135"

// mapper is the interface of the endpoint mapper, C706 appendix O.
var mapper = Interface{
	Name: "the endpoint mapper",
	UUID: NewUUID(0xe1af8308, 0x5d1f, 0x11c9, [8]byte{0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa}), Major: 3,
}

const (
	opMap      = 3 // ept_map
	towersMost = 16
	mapperMost = 64 << 10
	// notRegistered is EPT_S_NOT_REGISTERED.
	notRegistered = 0x16C9A0D6
)

// NotRegisteredError says that the endpoint mapper knows no port of an interface.
type NotRegisteredError struct {
	Interface string
	Status    uint32
}

func (e *NotRegisteredError) Error() string {
	return fmt.Sprintf("dcerpc: the endpoint mapper knows no TCP port of %s (0x%08x)", e.Interface, e.Status)
}

// Endpoint asks the endpoint mapper of a host for the TCP port of an interface. The host that it names with it is not looked at:
// a password is for the one that was asked.
func Endpoint(ctx context.Context, host, port string, of Interface, timeout time.Duration) (string, error) {
	c, err := Dial(ctx, net.JoinHostPort(host, port), Config{Interface: mapper, Timeout: timeout, Most: mapperMost})
	if err != nil {
		return "", err
	}
	defer c.Close()
	reply, err := c.Call(ctx, opMap, mapRequest(of))
	if err != nil {
		return "", err
	}
	found, err := mapReply(reply, of)
	if err != nil {
		return "", err
	}
	return strconv.Itoa(int(found)), nil
}

// mapRequest writes the parameters of ept_map: object, map_tower, entry_handle, max_towers.
func mapRequest(of Interface) []byte {
	var w Writer
	w.Uint32(0) // no object
	w.Pointer()
	tower := newTower(of)
	w.Uint32(uint32(len(tower)), uint32(len(tower)))
	w.Bytes(tower)
	w.Align(4)
	w.Bytes(make([]byte, 20))
	w.Uint32(towersMost)
	return w.Octets()
}

// mapReply reads the results of ept_map: entry_handle, num_towers, towers, status.
func mapReply(stub []byte, of Interface) (uint16, error) {
	r := NewReader(stub)
	r.Bytes(20)
	r.Uint32() // num_towers
	there := 0
	for range r.Varying(4) {
		if r.Uint32() != 0 {
			there++
		}
	}
	var port uint16
	for range there {
		r.Uint32() // max_count, which is tower_length
		tower := r.Bytes(r.Count(1))
		if p, ok := towerPort(tower, of); ok && port == 0 {
			port = p
		}
	}
	status := r.Uint32()
	switch {
	case r.Err() != nil:
		return 0, fmt.Errorf("%w: the reply of the endpoint mapper: %w", ErrProtocol, r.Err())
	case status != 0:
		return 0, &NotRegisteredError{of.Name, status}
	case port == 0:
		return 0, &NotRegisteredError{of.Name, notRegistered}
	}
	return port, nil
}

// Protocols of floors of a tower, C706 appendix I.
const (
	floorUUID = 0x0D
	floorRPC  = 0x0B // connection-oriented
	floorTCP  = 0x07
	floorIP   = 0x09
)

// newTower makes the tower of an interface with NDR over TCP, whose port and address are asked for. C706 appendix L.
func newTower(of Interface) []byte {
	le := binary.LittleEndian
	tower := le.AppendUint16(nil, 5)
	floor := func(left, right []byte) {
		tower = append(le.AppendUint16(tower, uint16(len(left))), left...)
		tower = append(le.AppendUint16(tower, uint16(len(right))), right...)
	}
	for _, i := range []Interface{of, ndr} {
		floor(floorOf(i), le.AppendUint16(nil, i.Minor))
	}
	floor([]byte{floorRPC}, make([]byte, 2))
	floor([]byte{floorTCP}, make([]byte, 2))
	floor([]byte{floorIP}, make([]byte, 4))
	return tower
}

func floorOf(i Interface) []byte {
	return binary.LittleEndian.AppendUint16(append([]byte{floorUUID}, i.UUID[:]...), i.Major)
}

// towerPort returns the TCP port of a tower, if it is one of the interface.
func towerPort(tower []byte, of Interface) (uint16, bool) {
	r := tower
	next := func() []byte {
		if len(r) < 2 || len(r)-2 < int(binary.LittleEndian.Uint16(r)) {
			r = nil
			return nil
		}
		side := r[2:][:binary.LittleEndian.Uint16(r)]
		r = r[2+len(side):]
		return side
	}
	if len(r) < 2 {
		return 0, false
	}
	r = r[2:] // how many floors
	if string(next()) != string(floorOf(of)) {
		return 0, false
	}
	next()
	for left := next(); left != nil; left = next() {
		right := next()
		if len(left) == 1 && left[0] == floorTCP && len(right) == 2 {
			port := binary.BigEndian.Uint16(right)
			return port, port != 0
		}
	}
	return 0, false
}
