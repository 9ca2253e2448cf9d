package state

import (
	"iter"
	"reflect"
	"slices"
)

// BlobKeys walks the keys of the blobs that a row names: those of values, references, packs, and whatever else has a field
// BlobKey or RefsKey. A key may come more than once.
func BlobKeys(r Row) iter.Seq[string] {
	return func(yield func(string) bool) { walkKeys(reflect.ValueOf(r), yield) }
}

// BlobKeys are those of the row that the effect puts.
func (e Effect) BlobKeys() ([]string, error) {
	r, err := e.row()
	if err != nil {
		return nil, err
	}
	return slices.Collect(BlobKeys(r)), nil
}

// walkKeys is false when yield wants no more.
func walkKeys(v reflect.Value, yield func(string) bool) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil() || walkKeys(v.Elem(), yield)
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k != reflect.Struct && k != reflect.Pointer {
			return true
		}
		for i := range v.Len() {
			if !walkKeys(v.Index(i), yield) {
				return false
			}
		}
	case reflect.Struct:
		t := v.Type()
		for i := range v.NumField() {
			f := v.Field(i)
			if name := t.Field(i).Name; name == "BlobKey" || name == "RefsKey" {
				if f.String() != "" && !yield(f.String()) {
					return false
				}
				continue
			}
			if t.Field(i).IsExported() && !walkKeys(f, yield) {
				return false
			}
		}
	}
	return true
}

// Rows walks all rows of all tables.
func (v *View) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for _, s := range specs {
			for r := range walk[Row](v, s.number, "id", "", "") {
				if !yield(r) {
					return
				}
			}
		}
	}
}
