package api

import (
	"encoding/json"
	"fmt"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// tags reads an object of tags that may be left out: name -> text, true, false or a list of texts.
func (b *body) tags(field string) state.Tags {
	var given map[string]tagValues
	b.into(field, &given)
	if b.details[field] != "" || len(given) == 0 {
		return nil
	}
	tags := state.Tags{}
	for name, values := range given {
		tags[name] = values
	}
	if err := scheduler.CheckTags(tags); err != nil {
		b.wrong(field, "invalid")
		b.message = field + ": " + err.Error()
	}
	return tags
}

// tagValues are the values of one tag.
type tagValues []string

// UnmarshalJSON takes the forms in which clients write them.
func (v *tagValues) UnmarshalJSON(data []byte) error {
	var one any
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	switch one := one.(type) {
	case string:
		*v = []string{one}
		return nil
	case bool:
		*v = []string{fmt.Sprint(one)}
		return nil
	}
	var list []string
	err := json.Unmarshal(data, &list)
	if list == nil {
		return fmt.Errorf("the values of a tag are a text, true, false or a list of texts, not %s: %w", data, err)
	}
	*v = list
	return err
}
