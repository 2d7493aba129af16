package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/testkit"
)

// certificate writes a certificate for 127.0.0.1 and its key, and returns the pool that trusts it.
func certificate(t *testing.T) (cert, key string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust = x509.NewCertPool()
	trust.AddCert(template)
	text, _ := os.ReadFile(cert)
	trust.AppendCertsFromPEM(text)
	return cert, key, trust
}

// With -tls-cert and -tls-key clients are served over TLS, by HTTP/1.1 and HTTP/2, and not without it.
func TestGateway_ServesTLS(t *testing.T) {
	t.Parallel()
	cert, key, trust := certificate(t)
	sim := simulator(t, time.Millisecond)
	g := start(t, "-config", write(t, "", sim.URL(), ""), "-tls-cert", cert, "-tls-key", key)
	if !strings.HasPrefix(g.url, "https://") || !strings.HasPrefix(g.admin, "http://") {
		t.Fatalf("got %s and %s, want TLS for clients only", g.url, g.admin)
	}
	for _, two := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: two}
		client := &http.Client{Transport: transport, Timeout: testkit.Patience}
		res, err := client.Post(g.url+"/v1/chat/completions", "application/json", strings.NewReader(chat))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_, _ = text.ReadFrom(res.Body)
		res.Body.Close()
		transport.CloseIdleConnections()
		if want := map[bool]int{false: 1, true: 2}[two]; res.StatusCode != http.StatusOK || res.ProtoMajor != want {
			t.Errorf("got %s %d %s, want 200 by HTTP/%d", res.Proto, res.StatusCode, text.String(), want)
		}
	}
	if status, text := get(t, "GET", strings.Replace(g.url, "https", "http", 1)+"/healthz", ""); status == http.StatusOK {
		t.Errorf("got %d %s without TLS, want an error", status, text)
	}
}
