package manage

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/devices"
)

// DeviceTexts is what of a device is written in words: for whom it works, and what has to be read first. What is nil stays as it
// is in the device.
type DeviceTexts struct {
	Account     *string  // a login name
	Networks    []string // networks and addresses
	Life        *string  // "90d", or a day; empty: for ever
	Size        *string  // "10MiB"; empty: the gateway's limit
	Certificate string   // the device's own, a file in PEM form; empty: none is read
	Authority   string   // who signs it, a file in PEM form; empty: none is read
}

// PrepareDevice completes a device that is to be added or changed. What the configuration is against is the error.
func PrepareDevice(cfg *config.Config, d *devices.Device, texts DeviceTexts) (err error) {
	if texts.Account != nil {
		if d.Store, d.Account, err = AccountIn(cfg, *texts.Account); err != nil {
			return err
		}
	}
	if texts.Networks != nil {
		if d.Networks, err = networksOf(texts.Networks); err != nil {
			return err
		}
	}
	if texts.Life != nil {
		if d.Expires, err = endOf(*texts.Life); err != nil {
			return err
		}
	}
	if texts.Size != nil {
		if d.Sending.Size, err = sizeOf(*texts.Size); err != nil {
			return err
		}
	}
	if err := readCertificate(d, texts); err != nil {
		return err
	}
	return sendersWithin(cfg, d)
}

// sizeOf is a size in octets; 0: of no text.
func sizeOf(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	size, err := config.ParseSize(text)
	return int64(size), err
}

func readCertificate(d *devices.Device, texts DeviceTexts) error {
	if texts.Certificate != "" {
		if d.Certificate != nil && d.Certificate.Fingerprint != "" {
			return errors.New("name the certificate's file or its fingerprint, and not both")
		}
		text, err := os.ReadFile(texts.Certificate)
		if err != nil {
			return err
		}
		print, err := devices.FingerprintOf(text)
		if err != nil {
			return fmt.Errorf("%s: %w", texts.Certificate, err)
		}
		d.Certificate = &devices.Certificate{Fingerprint: print}
	}
	if texts.Authority == "" {
		return nil
	}
	text, err := os.ReadFile(texts.Authority)
	if err != nil {
		return err
	}
	if d.Certificate == nil {
		d.Certificate = &devices.Certificate{}
	}
	d.Certificate.Authority = string(text)
	return nil
}

// sendersWithin keeps a device from sending as what its store does not speak for: mail from there would be refused, or
// forged.
func sendersWithin(cfg *config.Config, d *devices.Device) error {
	store, err := StoreNamed(cfg, d.Store)
	if err != nil {
		return err
	}
	for _, sender := range append(slices.Clone(d.Sending.Senders), d.Sending.Sender) {
		if sender == "" {
			continue
		}
		domain, isDomain := strings.CutPrefix(sender, "@")
		if !isDomain {
			box, err := address.Parse(sender)
			if err != nil {
				return fmt.Errorf("%q is no mail address", sender)
			}
			domain = box.Domain
		} else if domain, err = address.Domain(domain); err != nil {
			return fmt.Errorf("%q is no domain", sender)
		}
		listed := slices.ContainsFunc(store.SendAs, func(own string) bool {
			return strings.EqualFold(own, domain) || strings.EqualFold(own, sender)
		})
		if !slices.Contains(store.Domains, domain) && !listed {
			return fmt.Errorf("%s is not of store %s: the device may send as addresses of %s, and of what send_as of the store lists", sender, store.Name, strings.Join(store.Domains, ", "))
		}
	}
	return nil
}

// DeviceWarnings are what of the configuration keeps a device from working, each with what to do.
func DeviceWarnings(cfg *config.Config, d *devices.Device) (all []string) {
	has := func(fits func(config.Listener) bool) bool { return slices.ContainsFunc(cfg.Listeners, fits) }
	for _, p := range d.Protocols {
		if !has(func(l config.Listener) bool { return strings.HasPrefix(l.Protocol, p) }) {
			all = append(all, fmt.Sprintf("no listener has the protocol %s: the device cannot connect", p))
		}
	}
	if d.Legacy && !has(func(l config.Listener) bool { return l.Legacy }) {
		all = append(all, "no listener has legacy: true: the device cannot come without TLS 1.2")
	}
	if d.Certificate != nil && !has(func(l config.Listener) bool { return l.DeviceCertificates || l.ClientCA != "" }) {
		all = append(all, "no listener asks clients for a certificate (device_certificates or client_ca): the device cannot show its own")
	}
	if _, domain, _ := strings.Cut(d.Owner, "@"); d.Owner != "" && len(cfg.Routes) == 0 && !slices.ContainsFunc(cfg.Stores, func(s config.Store) bool { return slices.Contains(s.Domains, domain) }) {
		all = append(all, fmt.Sprintf("nothing leads to the owner %s: notices for it cannot leave", d.Owner))
	}
	if store, err := StoreNamed(cfg, d.Store); err == nil && store.Sends && d.Sends() {
		all = append(all, fmt.Sprintf("store %s sends by itself (sends: true): what it cannot take at once is told to the device, and rates, too; with a route (to: transport) it waits here", store.Name))
	}
	if d.Sends() && len(cfg.Routes) == 0 {
		all = append(all, "there are no routes: the device can send to addresses of the stores alone, and what a store cannot take now is told to the device")
	}
	return all
}
