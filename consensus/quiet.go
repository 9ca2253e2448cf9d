package consensus

import "github.com/hashicorp/go-hclog"

// quiet passes on what a library reports as information as debugging: what an operator has to know of Raft, this package
// and its callers say themselves.
type quiet struct{ hclog.Logger }

var _ hclog.Logger = quiet{}

func (q quiet) Info(msg string, args ...any) { q.Logger.Debug(msg, args...) }

func (q quiet) Log(level hclog.Level, msg string, args ...any) {
	if level == hclog.Info {
		level = hclog.Debug
	}
	q.Logger.Log(level, msg, args...)
}

func (q quiet) With(args ...any) hclog.Logger       { return quiet{q.Logger.With(args...)} }
func (q quiet) Named(name string) hclog.Logger      { return quiet{q.Logger.Named(name)} }
func (q quiet) ResetNamed(name string) hclog.Logger { return quiet{q.Logger.ResetNamed(name)} }
