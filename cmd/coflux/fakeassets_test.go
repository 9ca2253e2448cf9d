package main

// fakeAssets are assets of files that all have the one content there is; that of Abad is not what it is said to be, and Aout is what
// no node gives.
var fakeAssets = map[string]string{
	"Amany": `{"name":"many","entries":{
		"a/b/one.txt":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{"type":"text/plain"}},
		"a/two.csv":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{"type":"text/csv"}},
		"three":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{}}}}`,
	"Aunnamed": `{"name":null,"entries":{"x":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{}}}}`,
	"Abad":     `{"name":"bad","entries":{"x":{"blobKey":"` + blobKey + `","size":16,"metadata":{}}}}`,
	"Aout":     `{"name":"out","entries":{"../out.txt":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{}}}}`,
	"Adir":     `{"name":"dir","entries":{"link/in.txt":{"blobKey":"510b7163135eb64a7447cff9da3bf9d3928223885ac9bf29766bbd9fe8084af1","size":16,"metadata":{}}}}`,
}
