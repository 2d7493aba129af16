package caller

import (
	"net/http"
	"runtime"
	"sync"
	"weak"
)

// keysOf has the key ID of each response that a Transport returned, until the response is garbage. The response itself has
// no place for it: its Request is the user's own, and its headers go to clients of a reverse proxy.
var keysOf sync.Map // from weak.Pointer[http.Response] to string

// setKeyOf sets what KeyOf returns for a response of an attempt's request.
func setKeyOf(res *http.Response) {
	if res.Request == nil {
		return
	}
	g := GrantFrom(res.Request.Context())
	if g == nil {
		return
	}
	its := weak.Make(res)
	keysOf.Store(its, g.Key)
	runtime.AddCleanup(res, func(gone weak.Pointer[http.Response]) { keysOf.Delete(gone) }, its)
}

// KeyOf returns the ID of the key that a response of Transport was received with. It is empty if no request was sent, and
// for the response of another transport.
func KeyOf(res *http.Response) string {
	if res == nil {
		return ""
	}
	if key, ok := keysOf.Load(weak.Make(res)); ok {
		return key.(string)
	}
	if err := ErrorOf(res); err != nil {
		return err.Key
	}
	return ""
}
