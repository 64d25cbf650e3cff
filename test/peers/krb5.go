//go:build linux

package peers

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// KDC is MIT Kerberos with one realm.
type KDC struct {
	Realm string
	// Address is host:port, for TCP.
	Address string
	// Config is a krb5.conf that leads to it.
	Config string

	t    testing.TB
	root string
	dir  string
}

// StartKDC starts a KDC with an empty realm, which ends with the test.
func StartKDC(t testing.TB, realm string) *KDC {
	t.Helper()
	dir := t.TempDir()
	k := &KDC{Realm: realm, Config: filepath.Join(dir, "krb5.conf"), t: t, dir: dir, root: filepath.Join(folder(t), "..", ".work", "krb5")}
	k.Address = fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0])
	write(t, k.Config, fmt.Sprintf(krb5Config, realm, k.Address))
	write(t, filepath.Join(dir, "kdc.conf"), fmt.Sprintf(kdcConfig, realm, k.Address, dir, k.root))
	k.run("kdb5_util", "create", "-s", "-P", "master")
	k.start()
	return k
}

const krb5Config = `[libdefaults]
	default_realm = %[1]s
	dns_lookup_kdc = false
	dns_lookup_realm = false
	rdns = false
[realms]
	%[1]s = {
		kdc = %[2]s
	}
`

const kdcConfig = `[kdcdefaults]
	kdc_listen = ""
	kdc_tcp_listen = %[2]s
[realms]
	%[1]s = {
		database_module = db
		key_stash_file = %[3]s/stash
		max_life = 10h
		supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
	}
[dbmodules]
	db_module_dir = %[4]s/usr/lib/x86_64-linux-gnu/krb5/plugins/kdb
	db = {
		db_library = db2
		database_name = %[3]s/principal
	}
[logging]
	kdc = FILE:%[3]s/kdc.log
`

func (k *KDC) command(name string, argv ...string) *exec.Cmd {
	libraries := filepath.Join(k.root, "usr/lib/x86_64-linux-gnu")
	if runtime.GOARCH == "arm64" {
		libraries = filepath.Join(k.root, "usr/lib/aarch64-linux-gnu")
	}
	cmd := exec.Command(filepath.Join(k.root, "usr/sbin", name), argv...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries, "KRB5_CONFIG="+k.Config, "KRB5_KDC_PROFILE="+filepath.Join(k.dir, "kdc.conf"))
	return cmd
}

func (k *KDC) run(name string, argv ...string) {
	k.t.Helper()
	if out, err := k.command(name, argv...).CombinedOutput(); err != nil {
		k.t.Fatalf("%s %v: %v (./test/run install)\n%s", name, argv, err, out)
	}
}

func (k *KDC) start() {
	k.t.Helper()
	cmd := k.command("krb5kdc", "-n")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		k.t.Fatalf("%v (./test/run install)", err)
	}
	k.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if k.t.Failed() {
			k.t.Logf("the KDC's log:\n%s%s", said.String(), k.Log())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", k.Address)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("the KDC does not answer: %v\n%s", err, k.Log())
		}
	}
}

// Log is what it has logged: a line for each request.
func (k *KDC) Log() string {
	logged, _ := os.ReadFile(filepath.Join(k.dir, "kdc.log"))
	return string(logged)
}

// AddUser adds a principal with a password, which is verified before a ticket is given.
func (k *KDC) AddUser(name, password string) {
	k.t.Helper()
	k.run("kadmin.local", "addprinc", "+requires_preauth", "-pw", password, name)
}

// AddService adds the principal of a service, and returns its keytab.
func (k *KDC) AddService(name string) string {
	k.t.Helper()
	k.run("kadmin.local", "addprinc", "-randkey", name)
	return k.NewKey(name)
}

// NewKey gives a principal another key, and returns a keytab that has it alone.
func (k *KDC) NewKey(name string) string {
	k.t.Helper()
	keytab := filepath.Join(k.t.TempDir(), "keytab")
	k.run("kadmin.local", "ktadd", "-k", keytab, name)
	return keytab
}

// Modify changes a principal, as modprinc of kadmin does: -pwexpire yesterday, -allow_tix.
func (k *KDC) Modify(name string, argv ...string) {
	k.t.Helper()
	k.run("kadmin.local", append(append([]string{"modprinc"}, argv...), name)...)
}
