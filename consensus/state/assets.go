package state

import "iter"

// Asset is a set of files that does not change: a list of them, kept as a blob, under an id that is made of what it is. The row
// stays while anything refers to the list.
type Asset struct {
	rowCommon
	ID   string `codec:"i"`
	Name string `codec:"n,omitempty"` // "" = none
	// Count is the number of its files, Size what they have together, bytes.
	Count int   `codec:"c"`
	Size  int64 `codec:"s"`
	// BlobKey of the list of its files (node/asset).
	BlobKey string `codec:"b"`
	// Entry is the one file of an asset that has no other.
	Entry *AssetEntry `codec:"e,omitempty"`
	// UsedAt is the log time, milliseconds, at which a row that refers to it was written last, or some minutes before.
	UsedAt int64 `codec:"u"`
}

// AssetEntry is a file of an asset.
type AssetEntry struct {
	Path     string `codec:"p"` // with slashes
	BlobKey  string `codec:"b"`
	Size     int64  `codec:"s"`
	Metadata []byte `codec:"x,omitempty"` // a JSON object
}

func (*Asset) table() Table  { return TableAssets }
func (a *Asset) key() string { return a.ID }

// Reference to the asset, with what is known of it without reading its list.
func (a *Asset) Reference() Reference {
	return Reference{Kind: KindAsset, ID: a.ID, Name: a.Name, Count: a.Count, Size: a.Size, BlobKey: a.BlobKey}
}

// Asset by id, nil when there is none.
func (v *View) Asset(id string) *Asset { return one[*Asset](v, TableAssets, "id", id) }

// Assets walks all of them.
func (v *View) Assets() iter.Seq[*Asset] { return walk[*Asset](v, TableAssets, "id", "", "") }

// Persisted records that an execution has made an asset, or has made again what was there.
type Persisted struct {
	rowCommon
	Execution string `codec:"e"`
	Asset     string `codec:"a"`
	BlobKey   string `codec:"b"` // of the asset's list, which stays with the row
}

func (*Persisted) table() Table  { return TablePersisted }
func (p *Persisted) key() string { return join(p.Execution, p.Asset) }

// PersistedBy walks the assets that an execution has made.
func (v *View) PersistedBy(e ExecutionID) iter.Seq[*Persisted] {
	return walk[*Persisted](v, TablePersisted, "id", join(e.String()), "")
}
