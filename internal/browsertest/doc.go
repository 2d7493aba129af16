// Package browsertest tests the status page in headless Chromium. It is a module of its own, so that the library doesn't
// depend on a browser's protocol.
package browsertest
