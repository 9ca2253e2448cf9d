package scheduler_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// simRooms are the workspaces that agents may be meant for. Two projects have one of the same name.
var simRooms = []struct{ project, name string }{{"p", "w"}, {"p", "d"}, {"p", "w/x"}, {"q", "w"}}

// found makes the first workspaces: one each of two projects, and perhaps one that inherits.
func (s *sim) found() {
	var first string
	s.send(&scheduler.CreateWorkspace{Project: "p", Name: "w", Ensure: true}, func(r scheduler.Reply) { first = r.Answer.WorkspaceID })
	s.send(&scheduler.CreateWorkspace{Project: "q", Name: "w", Ensure: true, Seed: true}, nil)
	s.settleInbox()
	if s.chance(60) {
		s.send(&scheduler.CreateWorkspace{Project: "p", Name: "d", Base: first}, nil)
		s.settleInbox()
	}
}

// settleInbox lets the leader decide all that waits, without faults.
func (s *sim) settleInbox() {
	calm := s.calm
	s.calm = true
	s.commitTurn(fateNormal)
	s.calm = calm
}

// pick gives a workspace to ask for: mostly the preferred one, or the first of the first project, sometimes any.
func (s *sim) pick(prefer string) string {
	if prefer != "" && s.chance(70) {
		return prefer
	}
	ids := s.oracle.roomIDs()
	if s.chance(60) {
		for _, id := range ids {
			if r := s.oracle.rooms[id]; r.project == "p" && r.name == "w" && r.state != state.WorkspaceArchived {
				return id
			}
		}
	}
	return ids[s.rng.IntN(len(ids))]
}

// govern changes the workspaces.
func (u *simUser) govern() scheduler.Request {
	id := u.ulid(u.now)
	name := simRooms[u.rng.IntN(len(simRooms))].name
	base := ""
	if u.chance(50) {
		base = u.pick("")
	}
	switch n := u.rng.IntN(130); {
	case n >= 100:
		return u.register()
	case n < 30:
		return &scheduler.CreateWorkspace{RequestID: id, Project: []string{"p", "p", "q"}[u.rng.IntN(3)], Name: name, Base: base,
			Ensure: u.chance(20), Seed: u.chance(20)}
	case n < 55:
		r := &scheduler.UpdateWorkspace{RequestID: id, Workspace: u.pick(""), Rebase: u.chance(60), Base: base}
		if u.chance(50) {
			r.Name = name
		}
		return r
	case n < 70:
		return &scheduler.PauseWorkspace{RequestID: id, Workspace: u.pick("")}
	case n < 85:
		return &scheduler.ResumeWorkspace{RequestID: id, Workspace: u.pick("")}
	default:
		return &scheduler.ArchiveWorkspace{RequestID: id, Workspace: u.pick("")}
	}
}

// rescue ends all pauses and brings an agent that serves everything to every workspace, so that all can come to an end.
func (s *sim) rescue() {
	for _, id := range s.oracle.roomIDs() {
		r := s.oracle.rooms[id]
		if r.state == state.WorkspacePaused && len(s.inbox) == 0 {
			s.send(&scheduler.ResumeWorkspace{Workspace: id}, nil)
		}
		served := r.state == state.WorkspaceArchived || slices.ContainsFunc(s.agents, func(a *simAgent) bool {
			return a.room == id && len(a.targets) == len(simTargets) && a.able
		})
		if !served {
			a := newSimAgent(s, len(s.agents))
			a.project, a.name, a.room, a.targets, a.first = r.project, r.name, id, simTargets, true
			a.fresh()
			s.agents = append(s.agents, a)
		}
	}
}

// oracleRoom is a workspace.
type oracleRoom struct {
	project, name, base, state string
	flows                      map[string]string // definitions by module/name
}

func (o *oracle) roomIDs() []string { return slices.Sorted(maps.Keys(o.rooms)) }

func (o *oracle) live(id string) bool {
	r := o.rooms[id]
	return r != nil && r.state != state.WorkspaceArchived
}

// named gives the live workspace of a name, "" for none.
func (o *oracle) named(project, name string) string {
	for _, id := range o.roomIDs() {
		if r := o.rooms[id]; o.live(id) && r.project == project && r.name == name {
			return id
		}
	}
	return ""
}

// inherits tells whether a workspace is the other or reaches it along its bases.
func (o *oracle) inherits(id, from string) bool {
	for steps := 0; id != ""; steps++ {
		if id == from {
			return true
		}
		if steps > len(o.rooms) {
			panic(violation{fmt.Errorf("workspace %s inherits from itself", id)})
		}
		id = o.rooms[id].base
	}
	return false
}

// home is the workspace of a step's first execution.
func (o *oracle) home(e state.ExecutionID) string {
	if first := o.execs[e.StepID().String()+":1"]; first != nil {
		return first.workspace
	}
	return ""
}

// servable tells whether a new session finds a workspace to serve.
func (o *oracle) servable(r *scheduler.OpenSession) bool {
	before := o.rooms[r.WorkspaceID]
	return before == nil || before.project != r.Project || o.live(r.WorkspaceID) || o.named(r.Project, r.Workspace) != ""
}

// serves checks which workspace a new session was given, and notes it if it was made for it.
func (o *oracle) serves(r *scheduler.OpenSession, got string) error {
	if !o.servable(r) {
		return fmt.Errorf("a session was given workspace %s although its own was archived", got)
	}
	want := o.named(r.Project, r.Workspace)
	if before := o.rooms[r.WorkspaceID]; before != nil && before.project == r.Project && o.live(r.WorkspaceID) {
		want = r.WorkspaceID
	}
	if want == "" {
		return o.madeRoom(got, &oracleRoom{project: r.Project, name: r.Workspace, state: state.WorkspaceActive})
	}
	if got != want {
		return fmt.Errorf("a session was given workspace %s, want %s", got, want)
	}
	return nil
}

func (o *oracle) madeRoom(id string, r *oracleRoom) error {
	if o.rooms[id] != nil || id == "" {
		return fmt.Errorf("workspace %q is not a new one", id)
	}
	r.flows = map[string]string{}
	o.rooms[id] = r
	return nil
}

// badBase tells whether a workspace of the project (a new one: id "") cannot have the base.
func (o *oracle) badBase(project, id, base string) bool {
	return base != "" && (!o.live(base) || o.rooms[base].project != project || id != "" && o.inherits(base, id))
}

// governed follows a change of the workspaces.
func (o *oracle) governed(r scheduler.Request, reply scheduler.Reply, now int64) error {
	switch r := r.(type) {
	case *scheduler.CreateWorkspace:
		return o.once(r.RequestID, reply, now, func() (string, error) { return o.created(r, reply) })
	case *scheduler.UpdateWorkspace:
		return o.once(r.RequestID, reply, now, func() (string, error) {
			if !o.live(r.Workspace) {
				return "", nil
			}
			room := o.rooms[r.Workspace]
			other := o.named(room.project, r.Name)
			if r.Name != "" && other != "" && other != r.Workspace || r.Rebase && o.badBase(room.project, r.Workspace, r.Base) {
				return "", nil
			}
			if r.Name != "" {
				room.name = r.Name
			}
			if r.Rebase {
				room.base = r.Base
			}
			return r.Workspace, nil
		})
	case *scheduler.PauseWorkspace:
		return o.once(r.RequestID, reply, now, func() (string, error) { return o.setState(r.Workspace, state.WorkspacePaused), nil })
	case *scheduler.ResumeWorkspace:
		return o.once(r.RequestID, reply, now, func() (string, error) { return o.setState(r.Workspace, state.WorkspaceActive), nil })
	case *scheduler.RegisterManifests:
		return o.registered(r, reply, now)
	case *scheduler.ArchiveModule:
		return o.registered(&scheduler.RegisterManifests{RequestID: r.RequestID, Workspace: r.Workspace,
			Modules: []scheduler.ModuleManifest{{Module: r.Module}}}, reply, now)
	case *scheduler.ArchiveWorkspace:
		return o.once(r.RequestID, reply, now, func() (string, error) { return o.archive(r.Workspace), nil })
	}
	return nil
}

// once has a change made for a new request id. made gives the id of the workspace that the answer must name, "" for a
// request that must be refused.
func (o *oracle) once(request string, reply scheduler.Reply, now int64, made func() (string, error)) error {
	known := o.byULID[request]
	if request != "" && expired(request, now) && (known == "" || reply.Err != nil) {
		return refusedAs(reply, scheduler.CodeExpired)
	}
	want := known
	if known == "" {
		var err error
		if want, err = made(); err != nil {
			return err
		}
	}
	if (want == "") != (reply.Err != nil) && want != noRoom || want != noRoom && reply.Answer.WorkspaceID != want {
		return fmt.Errorf("answered workspace %q, want %q", reply.Answer.WorkspaceID, want)
	}
	if request != "" && want != "" && want != noRoom && known == "" {
		o.byULID[request] = want
	}
	return nil
}

// noRoom stands for an answer that is accepted and names no workspace, as none was made.
const noRoom = "-"

func (o *oracle) created(r *scheduler.CreateWorkspace, reply scheduler.Reply) (string, error) {
	if there := o.named(r.Project, r.Name); there != "" {
		if !r.Ensure {
			return "", nil
		}
		if reply.Err != nil || reply.Answer.WorkspaceID != there {
			return "", fmt.Errorf("workspace %s has the name", there)
		}
		return noRoom, nil // nothing was made, so nothing is remembered
	}
	if r.Seed {
		for _, room := range o.rooms {
			if room.project == r.Project && room.name == r.Name {
				if reply.Err != nil || reply.Answer.WorkspaceID != "" {
					return "", fmt.Errorf("a workspace that was archived came back")
				}
				return noRoom, nil
			}
		}
	}
	if o.badBase(r.Project, "", r.Base) {
		return "", nil
	}
	if reply.Err != nil {
		return "", fmt.Errorf("a good workspace was refused")
	}
	id := reply.Answer.WorkspaceID
	return id, o.madeRoom(id, &oracleRoom{project: r.Project, name: r.Name, base: r.Base, state: state.WorkspaceActive})
}

func (o *oracle) setState(id, to string) string {
	if !o.live(id) {
		return ""
	}
	o.rooms[id].state = to
	return id
}

// archive ends a workspace: what was given away is abandoned, the rest cancelled.
func (o *oracle) archive(id string) string {
	if !o.live(id) {
		return ""
	}
	for other, r := range o.rooms {
		if r.base == id && o.live(other) {
			return ""
		}
	}
	o.rooms[id].state = state.WorkspaceArchived
	for session, s := range o.sessions {
		if s.workspace == id && !s.lost {
			o.lose(session)
		}
	}
	for _, e := range o.execs {
		if e.workspace == id && e.result == "" && e.session == "" {
			e.doomed = true
		}
	}
	return id
}

// compareRooms holds the table of workspaces against the books.
func (o *oracle) compareRooms(v *state.View) error {
	found := 0
	for _, project := range []string{"p", "q"} {
		for w := range v.AllWorkspaces(project) {
			found++
			r := o.rooms[w.ID]
			if r == nil || r.project != w.Project || r.name != w.Name || r.base != w.Base || r.state != w.State {
				return fmt.Errorf("workspace %s is %+v, want %+v", w.ID, w, r)
			}
			if err := o.compareFlows(v, w.ID); err != nil {
				return err
			}
			if here := v.WorkspaceByName(w.Project, w.Name); o.live(w.ID) && (here == nil || here.ID != w.ID) {
				return fmt.Errorf("workspace %s is not found by its name %s", w.ID, w.Name)
			}
		}
	}
	if found != len(o.rooms) {
		return fmt.Errorf("%d workspaces, want %d", found, len(o.rooms))
	}
	return nil
}
