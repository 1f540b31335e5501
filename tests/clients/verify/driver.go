// Asks the guide's IsGenuine about each line of the file CASES: id, timestamp, signatures and body, in base64.
package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"

	"guide/webhooks"
)

func main() {
	text, err := os.ReadFile(os.Getenv("CASES"))
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		header := http.Header{}
		var body []byte
		for i, field := range strings.Split(line, " ") {
			if field == "-" {
				continue
			}
			value, err := base64.StdEncoding.DecodeString(field)
			if err != nil {
				panic(err)
			}
			if i == 3 {
				body = value
			} else {
				header.Set([]string{"webhook-id", "webhook-timestamp", "webhook-signature"}[i], string(value))
			}
		}
		fmt.Println(webhooks.IsGenuine(os.Getenv("SECRET"), header, body))
	}
}
