// Package pyexec runs Python bodies, each in a process of its own that the guard starts and kills, over the adapter protocol.
package pyexec
