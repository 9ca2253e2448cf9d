package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/asset"
)

// assetSummary is what is known of an asset without reading its list; Entry is its file where it has just one.
type assetSummary struct {
	Name       *string     `json:"name"`
	TotalCount int         `json:"totalCount"`
	TotalSize  int64       `json:"totalSize"`
	Entry      *assetEntry `json:"entry"`
}

type assetEntry struct {
	Path     string          `json:"path"`
	BlobKey  string          `json:"blobKey"`
	Size     int64           `json:"size"`
	Metadata json.RawMessage `json:"metadata"`
}

// assetReference names an asset in a value, or among what an execution looked at.
type assetReference struct {
	Type    string       `json:"type"`
	AssetID string       `json:"assetId"`
	Asset   assetSummary `json:"asset"`
}

// logAsset names an asset in a log line.
type logAsset struct {
	Type       string  `json:"type"`
	AssetID    string  `json:"assetId"`
	Name       *string `json:"name"`
	TotalCount int     `json:"totalCount"`
	TotalSize  int64   `json:"totalSize"`
}

// newAssetReference names an asset; what the reference says of it is shown where the asset is not known.
func newAssetReference(v *state.View, ref state.Reference) assetReference {
	doc := assetReference{state.KindAsset, ref.ID, assetSummary{Name: textOrNil(ref.Name), TotalCount: ref.Count, TotalSize: ref.Size}}
	a := v.Asset(ref.ID)
	if a == nil {
		return doc
	}
	doc.Asset = assetSummary{Name: textOrNil(a.Name), TotalCount: a.Count, TotalSize: a.Size}
	if e := a.Entry; e != nil {
		doc.Asset.Entry = &assetEntry{e.Path, e.BlobKey, e.Size, metadataOf(e.Metadata)}
	}
	return doc
}

func metadataOf(text []byte) json.RawMessage {
	if len(text) == 0 {
		return json.RawMessage("{}")
	}
	return rawJSON(text)
}

// assetsOf are those that an execution has made.
func assetsOf(v *state.View, e state.ExecutionID) map[string]assetSummary {
	docs := map[string]assetSummary{}
	for p := range v.PersistedBy(e) {
		docs[p.Asset] = newAssetReference(v, state.Reference{ID: p.Asset}).Asset
	}
	return docs
}

// assetDoc is an asset with its files.
type assetDoc struct {
	Name    *string              `json:"name"`
	Entries map[string]assetFile `json:"entries"` // by path
}

type assetFile struct {
	BlobKey  string         `json:"blobKey"`
	Size     int64          `json:"size"`
	Metadata map[string]any `json:"metadata"`
}

// asset shows one.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) error {
	reading, err := s.read(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("asset")
	a := reading.View.Asset(id)
	if a == nil {
		return notFound("asset", id)
	}
	doc, err := s.assetFiles(r.Context(), a.BlobKey)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func (s *Server) assetFiles(ctx context.Context, key string) (doc assetDoc, err error) {
	content, _, err := s.Backend.BlobOpen(ctx, key)
	if err != nil {
		return doc, err
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, asset.MaxList+1))
	if err != nil {
		return doc, err
	}
	list, err := asset.Decode(text)
	doc.Name, doc.Entries = list.Name, make(map[string]assetFile, len(list.Entries))
	for path, e := range list.Entries {
		if e.Metadata == nil {
			e.Metadata = map[string]any{}
		}
		doc.Entries[path] = assetFile{e.BlobKey, e.Size, e.Metadata}
	}
	return doc, err
}
