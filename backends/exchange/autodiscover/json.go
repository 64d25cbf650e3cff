package autodiscover

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// json asks version 2 for the URL of EWS, or for where plain XML is to be had. It wants no credential, so that none is sent.
func (s *search) json(ctx context.Context, root, address string) (*Found, error) {
	for _, protocol := range []string{"AutodiscoverV1", "EWS"} {
		answer, from, err := s.version2(ctx, root, address, protocol)
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(answer.Protocol, "EWS") {
			return s.settle(&Found{From: from.String()}, [][3]string{{"", "", answer.URL}}, from)
		}
		if u, err := url.Parse(answer.URL); err != nil || s.seen[u.String()+" "+strings.ToLower(address)] {
			continue // it leads to where it was not to be had
		}
		if err := s.follow(from.Host); err != nil {
			return nil, err
		}
		found, err := s.pox(ctx, answer.URL, address)
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil //nolint:nilnil // the next server may know
}

// version2Answer is an answer of version 2.
type version2Answer struct {
	Protocol, URL           string
	ErrorCode, ErrorMessage string
}

func (s *search) version2(ctx context.Context, root, address, protocol string) (a version2Answer, from *url.URL, err error) {
	where := root + "/autodiscover/autodiscover.json/v1.0/" + url.PathEscape(address) + "?Protocol=" + protocol
	u, err := s.enter(where, address)
	if err != nil {
		return a, nil, err
	}
	body, from, err := s.send(ctx, u, address, request{method: http.MethodGet, plain: true})
	if err != nil {
		return a, nil, err
	}
	if err := json.Unmarshal(body, &a); err != nil || a.URL == "" {
		return a, from, backends.Fail(backends.Unsupported, "%s: %w: %.100q: %.200q", from.Host, errNotHere, a.ErrorCode, a.ErrorMessage)
	}
	return a, from, nil
}
