package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// maxCacheText bounds namespace and version.
const maxCacheText = 200

// cacheKey is what a call has in common with those that may stand in for it; "" without a cache.
func cacheKey(s *state.Step) (string, error) {
	c := s.Cache
	if c == nil {
		return "", nil
	}
	p := Params{All: c.All, Indexes: c.Params}
	if err := p.check("cache"); err != nil {
		return "", err
	}
	if len(c.Namespace) > maxCacheText || len(c.Version) > maxCacheText {
		return "", refuse(CodeBadRequest, "cache: namespace and version have at most %d bytes", maxCacheText)
	}
	if c.MaxAge != nil && *c.MaxAge < 0 {
		return "", refuse(CodeBadRequest, "cache: the greatest age is %d ms: give at least 0, or none for any age", *c.MaxAge)
	}
	namespace := c.Namespace
	if namespace == "" {
		namespace = s.Module + ":" + s.Target
	}
	return argumentsKey(namespace, c.Version, p, s.Arguments), nil
}

// maxCandidates bounds what is looked at for a cache hit: values that are too old stay in the index.
const maxCandidates = 100

// useCache links a first attempt that is due to the newest execution of another step with its cache key, in its workspace or
// one that it inherits from, that gave a value not too long ago or has no result yet (semantics 7).
func (d *decision) useCache(e *state.Execution) {
	step := d.Step(e.ID().StepID())
	if step.Cache == nil {
		return
	}
	var newest *state.Execution
	for w := range d.Lineage(e.Workspace) {
		if x := d.candidate(e, w.ID, step.Cache.MaxAge); x != nil && (newest == nil || x.CreatedAt > newest.CreatedAt) {
			newest = x
		}
	}
	if k := d.kept(e, step.Cache.MaxAge); k != nil && (newest == nil || k.CreatedAt > newest.CreatedAt) {
		d.finish(e, &state.Result{Type: state.ResultCached, Link: k.Execution, Value: &k.Value})
		return
	}
	if newest != nil {
		d.finish(e, &state.Result{Type: state.ResultCached, Link: newest.ID().String()})
	}
}

// candidate is the newest execution in a workspace that may stand in for e, nil when there is none.
func (d *decision) candidate(e *state.Execution, workspace string, age *int64) *state.Execution {
	looked := 0
	for x := range d.Cached(workspace, e.CacheKey) {
		if looked++; looked > maxCandidates {
			return nil
		}
		switch {
		case x.Run == e.Run && x.Step == e.Step:
		case d.Run(x.Run) == nil: // just being put away
		case x.Result != nil && age != nil && (*age == 0 || d.now-x.CompletedAt > *age):
		case x.Result == nil && (d.archived(x.Workspace) || d.underCancel(x) || d.waitsFor(x, e)):
		default:
			return x
		}
	}
	return nil
}
