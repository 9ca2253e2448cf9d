package node

import "net/http"

func (n *Node) newHTTP() *http.Server { return &http.Server{Handler: http.NotFoundHandler()} }
