package client

import "context"

// Asset is a set of files.
type Asset struct {
	Name    *string              `json:"name"`
	Entries map[string]AssetFile `json:"entries"` // by path, with slashes
}

// AssetFile is a file of an asset, whose content is a blob.
type AssetFile struct {
	BlobKey  string         `json:"blobKey"`
	Size     int64          `json:"size"` // bytes
	Metadata map[string]any `json:"metadata"`
}

// Asset reads which files an asset has.
func (c *Client) Asset(ctx context.Context, id string) (Document[Asset], error) {
	return read[Asset](ctx, c, topic("asset", id), nil)
}
