// Package api is the HTTP room of every node: it turns requests from outside into requests to the scheduler and views of
// the state into documents.
package api
