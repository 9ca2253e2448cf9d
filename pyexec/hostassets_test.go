package pyexec

import "errors"

func (h *testHost) PersistAsset(_ AssetRequest, reply func(AssetReply, error)) {
	reply(AssetReply{}, errors.New("nothing is kept here"))
}

func (h *testHost) GetAsset(id string, reply func(AssetEntries, error)) {
	reply(AssetEntries{}, errors.New("not_found: asset "+id+" does not exist"))
}

func (h *testHost) UploadBlob(_ string, reply func(string, error)) {
	reply("", errors.New("nothing is kept here"))
}

func (h *testHost) DownloadBlob(key, _ string, reply func(error)) {
	reply(errors.New("blob not found: " + key))
}
