// Package admission admits the calls of one process to a pool.
package admission
