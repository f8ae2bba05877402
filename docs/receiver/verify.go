// Verify a delivery of payplat: Standard Webhooks 1.0, symmetric signatures (v1). Standard library only.
//
// On the command line: verify <secret> <id> <timestamp> <signature> < body; exit code 0 when it is genuine, else 1.
// Several secrets are separated by spaces.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const tolerance = 300 // seconds that a timestamp may be off, either way

var digits = regexp.MustCompile(`\A[0-9]{1,12}\z`)

// Verify tells whether one of secrets signed exactly these bytes, not five minutes off from now.
//
// The texts are the headers webhook-id, webhook-timestamp and webhook-signature as they came, empty where missing. The
// error is about a secret that is none.
func Verify(secrets []string, id, timestamp, signatures string, body []byte) (bool, error) {
	genuine := false
	for _, secret := range secrets {
		key, err := decode(secret)
		if err != nil {
			return false, err
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, sent := range strings.Split(signatures, " ") {
			genuine = hmac.Equal([]byte(expected), []byte(sent)) || genuine
		}
	}
	return genuine && id != "" && isFresh(timestamp), nil
}

func isFresh(timestamp string) bool {
	if !digits.MatchString(timestamp) {
		return false
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	off := time.Now().Unix() - seconds
	return err == nil && -tolerance <= off && off <= tolerance
}

// decode returns the key of whsec_…; a short one could be guessed, an empty one anybody has.
func decode(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 {
		return nil, errors.New("the secret is not whsec_ and the Base64 of at least 24 bytes")
	}
	return key, nil
}

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil || len(os.Args) != 5 {
		os.Exit(1)
	}
	secrets := strings.Split(os.Args[1], " ")
	genuine, err := Verify(secrets, os.Args[2], os.Args[3], os.Args[4], body)
	if err != nil || !genuine {
		os.Exit(1)
	}
}
