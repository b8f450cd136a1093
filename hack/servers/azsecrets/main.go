// Serves Microsoft's own fake of Key Vault (the package fake of azsecrets) over HTTP: a second opinion on how a vault
// writes its answers, beside hack/servers/keyvault.py, which is written from the documentation.
//
// What is Microsoft's here: the form of secrets, of deleted secrets and of pages, as its client reads them, and which
// path is which operation. What is not: whether a caller may read (any token will do), and the bodies of errors. The fake
// makes errors without a body; the bodies here are those of the documentation. Two things that the fake has otherwise than
// a vault are put right: it takes the version in a path for a part of the name, and its links to the next page have
// another path, where those of a vault have a token in the query.
//
// The vault holds, and nobody can change it:
//
//	db       two versions, with the tag team=shop
//	binary   base64, with a content type, with the tag team=shop
//	later    not valid before the year 2286
//	other    with the tag team=till
//	off      disabled
//	gone     deleted, and can be recovered
//
// Lists have two secrets on a page.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets/fake"
)

const (
	vault = "https://shop-kv.vault.azure.net"
	first = "11111111111111111111111111111111"
	// The newest version of every secret.
	newest = "22222222222222222222222222222222"
)

type version struct {
	id, value, contentType string
	enabled                bool
	created                int64
	notBefore              *time.Time
}

type secret struct {
	name     string
	tags     map[string]*string
	versions []version
}

var secrets = []secret{
	{"binary", tags("shop"), []version{{newest, "AAEC/w==", "application/octet-stream", true, 100, nil}}},
	{"db", tags("shop"), []version{
		{first, "one", "", true, 100, nil},
		{newest, "two \u00e9\"\\", "", true, 200, nil},
	}},
	{"later", nil, []version{{newest, "later", "", true, 100, to.Ptr(time.Unix(9_999_999_999, 0))}}},
	{"off", tags("shop"), []version{{newest, "off", "", false, 100, nil}}},
	{"other", tags("till"), []version{{newest, "other", "", true, 100, nil}}},
}

func tags(team string) map[string]*string {
	return map[string]*string{"team": to.Ptr(team)}
}

func (s secret) attributes(v version) *azsecrets.SecretAttributes {
	at := to.Ptr(time.Unix(v.created, 0))
	level := to.Ptr("Recoverable+Purgeable")
	return &azsecrets.SecretAttributes{Enabled: &v.enabled, Created: at, Updated: at, NotBefore: v.notBefore, RecoveryLevel: level}
}

func (s secret) properties(v version, id string) *azsecrets.SecretProperties {
	return &azsecrets.SecretProperties{ID: to.Ptr(azsecrets.ID(id)), Attributes: s.attributes(v), Tags: s.tags, ContentType: text(v.contentType)}
}

func text(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

func find(name string) *secret {
	for at := range secrets {
		if secrets[at].name == name {
			return &secrets[at]
		}
	}
	return nil
}

func getSecret(_ context.Context, name, wanted string, _ *azsecrets.GetSecretOptions) (resp azfake.Responder[azsecrets.GetSecretResponse], failed azfake.ErrorResponder) {
	if plain, version, has := strings.Cut(name, "/"); has {
		name, wanted = plain, version
	}
	found := find(name)
	if found == nil {
		failed.SetError(refusal(http.StatusNotFound, "SecretNotFound", "A secret with (name/id) "+name+" was not found in this key vault.", ""))
		return
	}
	shown := found.versions[len(found.versions)-1]
	for _, version := range found.versions {
		if version.id == wanted {
			shown = version
		}
	}
	switch {
	case wanted != "" && shown.id != wanted:
		failed.SetError(refusal(http.StatusNotFound, "SecretNotFound", "no such version", ""))
	case !shown.enabled:
		failed.SetError(refusal(http.StatusForbidden, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"))
	default:
		id := azsecrets.ID(vault + "/secrets/" + name + "/" + shown.id)
		resp.SetResponse(http.StatusOK, azsecrets.GetSecretResponse{Secret: azsecrets.Secret{
			ID: &id, Value: &shown.value, ContentType: text(shown.contentType), Attributes: found.attributes(shown), Tags: found.tags,
		}}, nil)
	}
	return
}

func getDeletedSecret(_ context.Context, name string, _ *azsecrets.GetDeletedSecretOptions) (resp azfake.Responder[azsecrets.GetDeletedSecretResponse], failed azfake.ErrorResponder) {
	if name != "gone" {
		failed.SetError(refusal(http.StatusNotFound, "SecretNotFound", "no such deleted secret", ""))
		return
	}
	at := to.Ptr(time.Unix(300, 0))
	id := azsecrets.ID(vault + "/secrets/gone/" + newest)
	resp.SetResponse(http.StatusOK, azsecrets.GetDeletedSecretResponse{DeletedSecret: azsecrets.DeletedSecret{
		ID: &id, RecoveryID: to.Ptr(vault + "/deletedsecrets/gone"), DeletedDate: at, ScheduledPurgeDate: at,
		Attributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(true), Created: at, Updated: at},
	}}, nil)
	return
}

func listVersions(name string, _ *azsecrets.ListSecretPropertiesVersionsOptions) (resp azfake.PagerResponder[azsecrets.ListSecretPropertiesVersionsResponse]) {
	found := find(name)
	if found == nil {
		resp.AddError(refusal(http.StatusNotFound, "SecretNotFound", "no such secret", ""))
		return
	}
	for _, version := range found.versions {
		page := []*azsecrets.SecretProperties{found.properties(version, vault+"/secrets/"+name+"/"+version.id)}
		resp.AddPage(http.StatusOK, azsecrets.ListSecretPropertiesVersionsResponse{
			SecretPropertiesListResult: azsecrets.SecretPropertiesListResult{Value: page},
		}, nil)
	}
	return
}

func listSecrets(*azsecrets.ListSecretPropertiesOptions) (resp azfake.PagerResponder[azsecrets.ListSecretPropertiesResponse]) {
	for begin := 0; begin < len(secrets); begin += 2 {
		var page []*azsecrets.SecretProperties
		for _, one := range secrets[begin:min(begin+2, len(secrets))] {
			page = append(page, one.properties(one.versions[len(one.versions)-1], vault+"/secrets/"+one.name))
		}
		resp.AddPage(http.StatusOK, azsecrets.ListSecretPropertiesResponse{
			SecretPropertiesListResult: azsecrets.SecretPropertiesListResult{Value: page},
		}, nil)
	}
	return
}

// An error whose body is that of the documentation.
type documented struct {
	status int
	body   string
}

func (e *documented) Error() string { return e.body }

func refusal(status int, code, message, inner string) error {
	if inner != "" {
		inner = fmt.Sprintf(`,"innererror":{"code":%q}`, inner)
	}
	return &documented{status, fmt.Sprintf(`{"error":{"code":%q,"message":%q%s}}`, code, message, inner)}
}

var routes = []struct {
	path *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`/deletedsecrets/[^/]+$`), "Client.GetDeletedSecret"},
	{regexp.MustCompile(`/secrets/[^/]+/versions$`), "Client.NewListSecretPropertiesVersionsPager"},
	{regexp.MustCompile(`/secrets/[^/]+(/[^/]+)?$`), "Client.GetSecret"},
	{regexp.MustCompile(`/secrets$`), "Client.NewListSecretPropertiesPager"},
}

// What the client in Go tells the fake beside the request: which operation it means.
func operation(path string) string {
	for _, route := range routes {
		if route.path.MatchString(path) {
			return route.name
		}
	}
	return ""
}

// The fake counts pages by itself: asked again for the same list, it goes on with it.
var nextPage = regexp.MustCompile(`/fake_page_([0-9]+)\?`)

func serve(fake *fake.ServerTransport) http.HandlerFunc {
	return func(out http.ResponseWriter, in *http.Request) {
		name := operation(in.URL.Path)
		switch {
		case name == "" || in.Method != http.MethodGet:
			http.NotFound(out, in)
			return
		case !strings.HasPrefix(in.Header.Get("Authorization"), "Bearer "):
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
		request := in.Clone(context.WithValue(in.Context(), runtime.CtxAPINameKey{}, name))
		request.URL.Scheme, request.URL.Host = "http", in.Host
		response, err := fake.Do(request)
		if err != nil {
			tell(out, err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			tell(out, err)
			return
		}
		out.Header().Set("Content-Type", response.Header.Get("Content-Type"))
		out.WriteHeader(response.StatusCode)
		_, _ = out.Write(nextPage.ReplaceAll(body, []byte(`?$$skiptoken=$1&`)))
	}
}

func tell(out http.ResponseWriter, err error) {
	var refused *documented
	if !errors.As(err, &refused) {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(refused.status)
	_, _ = io.WriteString(out, refused.body)
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: azsecrets HOST:PORT")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	transport := fake.NewServerTransport(&fake.Server{
		GetSecret: getSecret, GetDeletedSecret: getDeletedSecret,
		NewListSecretPropertiesPager: listSecrets, NewListSecretPropertiesVersionsPager: listVersions,
	})
	log.Fatal(http.Serve(listener, serve(transport)))
}
