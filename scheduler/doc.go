// Package scheduler decides everything that the mesh decides, as a pure function of the state, the requests and the time.
package scheduler
