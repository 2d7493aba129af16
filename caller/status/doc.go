// Package status is a page that shows a pool as all its processes report it, and the same as JSON.
//
// A program mounts it beside its own handlers:
//
//	mux.Handle("/penstock/", http.StripPrefix("/penstock", status.Handler(pool)))
//
// Any replica shows the whole fleet, and so does a separate process: it opens the pool by [caller.OpenAdmin], which needs no
// API key. The page needs no other server than this one, and no internet.
//
// The page only shows, unless [AllowChanges] gives it a token. Then it has buttons to take keys and accounts out of use and
// to put them back. The page asks for the token.
//
// # Paths
//
//	GET  /            the page
//	GET  /state.json  a [State]
//	GET  /events      the page's server-sent events, once a second while it is open
//	POST /change      a [Change] as JSON, with the token in the header Penstock-Token
//
// Access to the page itself is up to the program: it shows names of keys and accounts, limits and reasons, and no secrets.
package status
