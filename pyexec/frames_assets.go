package pyexec

import "encoding/json"

// AssetRequest is adapter-protocol 4.6. Paths are files to be stored under their base names, Entries what is stored already.
type AssetRequest struct {
	Paths   []string
	Name    *string
	Entries map[string]json.RawMessage // by path in the asset: [blob_key, size, metadata]
}

// AssetReply names the asset that was made; Reference is its form in values (adapter-protocol 3.2).
type AssetReply struct {
	AssetID   string          `json:"asset_id"`
	Reference json.RawMessage `json:"reference"`
}

// AssetEntries is adapter-protocol 4.7: a JSON object from path to [blob_key, size, metadata].
type AssetEntries struct {
	Entries json.RawMessage `json:"entries"`
}

func onPersistAsset(b *body, id int64, params json.RawMessage) error {
	var p struct {
		Paths    []string                   `json:"paths"`
		Metadata *struct{ Name *string }    `json:"metadata"`
		Entries  map[string]json.RawMessage `json:"entries"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	req := AssetRequest{Paths: p.Paths, Entries: p.Entries}
	if p.Metadata != nil {
		req.Name = p.Metadata.Name
	}
	slot := b.exec.replies.ordered(id, "persist_error")
	b.call(func(h Host) {
		h.PersistAsset(req, func(r AssetReply, err error) { slot.answer(r, err) })
	})
	return nil
}

func onGetAsset(b *body, id int64, params json.RawMessage) error {
	var p struct {
		AssetID string `json:"asset_id"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	slot := b.exec.replies.ordered(id, "get_asset_error")
	b.call(func(h Host) {
		h.GetAsset(p.AssetID, func(r AssetEntries, err error) { slot.answer(r, err) })
	})
	return nil
}

func onUploadBlob(b *body, id int64, params json.RawMessage) error {
	var p struct {
		SourcePath string `json:"source_path"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	slot := b.exec.replies.free(id, "upload_error")
	b.call(func(h Host) {
		h.UploadBlob(p.SourcePath, func(key string, err error) {
			slot.answer(map[string]string{"blob_key": key}, err)
		})
	})
	return nil
}

func onDownloadBlob(b *body, id int64, params json.RawMessage) error {
	var p struct {
		BlobKey    string `json:"blob_key"`
		TargetPath string `json:"target_path"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	slot := b.exec.replies.free(id, "download_error")
	b.call(func(h Host) {
		h.DownloadBlob(p.BlobKey, p.TargetPath, func(err error) { slot.answer(struct{}{}, err) })
	})
	return nil
}
