package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// SeeMember notes that a node belongs to the mesh, under its present name.
type SeeMember struct {
	ID, Name string
}

func (r *SeeMember) decide(d *decision) (Answer, error) {
	old := d.Member(r.ID)
	if old == nil {
		d.Put(&state.Member{ID: r.ID, Name: r.Name, JoinedAt: d.now})
		return Answer{}, nil
	}
	if old.Removed {
		return Answer{}, refuse(CodeFenced, "node %s was removed from the mesh: a removed id never comes back", r.ID)
	}
	if old.Name != r.Name {
		m := *old
		m.Name = r.Name
		d.Put(&m)
	}
	return Answer{}, nil
}

// RemoveMember notes that an id never comes back. A repeat is harmless.
type RemoveMember struct {
	ID string
}

func (r *RemoveMember) decide(d *decision) (Answer, error) {
	old := d.Member(r.ID)
	if old == nil {
		return Answer{}, refuse(CodeNotFound, "no node %s has ever belonged to the mesh", r.ID)
	}
	if !old.Removed {
		m := *old
		m.Removed = true
		d.Put(&m)
	}
	return Answer{}, nil
}
