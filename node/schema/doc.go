// Package schema checks JSON against the JSON Schemas of inputs, without ever fetching anything.
package schema
