package main

import (
	"maps"
	"slices"
	"strings"
)

// tagsOf reads tags as they are given to flags: name:value, or name for name:true; semicolons separate them too.
func tagsOf(items []string) map[string][]string {
	tags := map[string][]string{}
	for _, item := range items {
		for part := range strings.SplitSeq(item, ";") {
			name, value, found := strings.Cut(strings.TrimSpace(part), ":")
			if !found {
				value = "true"
			}
			if name != "" || found {
				tags[name] = append(tags[name], value)
			}
		}
	}
	return tags
}

// tagsText is "k:v, k:v" in order.
func tagsText(tags map[string][]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		for _, v := range tags[k] {
			parts = append(parts, k+":"+v)
		}
	}
	return orDash(strings.Join(parts, ", "))
}
