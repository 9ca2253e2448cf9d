package scheduler

import (
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

func TestCreateWorkspace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.ok(&CreateWorkspace{Project: "p", Name: "team/dev_1"})
	if b := r.ok(&CreateWorkspace{Project: "p", Name: "team/dev_1", Ensure: true}); a != b {
		t.Errorf("ensured %+v, want %+v", b, a)
	}
	if b := r.ok(&CreateWorkspace{Project: "q", Name: "team/dev_1"}); a == b {
		t.Error("two projects share a workspace")
	}
	r.refused(CodeBadRequest, &CreateWorkspace{Project: "p", Name: "team/dev_1"})
	if d := r.last.Replies[0].Err.Details["name"]; d != "exists" {
		t.Errorf("details %q", d)
	}
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "a b", "ä", "a.b", string(make([]byte, 201))} {
		r.refused(CodeBadRequest, &CreateWorkspace{Project: "p", Name: name, Ensure: true})
	}
}

func TestPutSetting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ok(&PutSetting{Name: state.SettingVoters, Value: 3, Seed: true})
	r.ok(&PutSetting{Name: state.SettingVoters, Value: 7, Seed: true}) // has a value already
	if v := r.store.View().Setting(state.SettingVoters, 0); v != 3 {
		t.Errorf("voters %d, want 3", v)
	}
	r.ok(&PutSetting{Name: state.SettingVoters, Value: 9})
	if v := r.store.View().Setting(state.SettingVoters, 0); v != 9 {
		t.Errorf("voters %d, want 9", v)
	}
	r.refused(CodeBadRequest, &PutSetting{Name: "nonsense", Value: 1})
	for name, limit := range bounds {
		r.refused(CodeBadRequest, &PutSetting{Name: name, Value: limit[0] - 1})
		r.refused(CodeBadRequest, &PutSetting{Name: name, Value: limit[1] + 1})
		r.ok(&PutSetting{Name: name, Value: limit[0]})
		r.ok(&PutSetting{Name: name, Value: limit[1]})
	}
}

func TestSeeMember(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.ok(&SeeMember{ID: "N1", Name: "a"})
	r.now++
	r.ok(&SeeMember{ID: "N1", Name: "b"})
	if m := r.store.View().Member("N1"); m.Name != "b" || m.JoinedAt != start {
		t.Errorf("member is %+v", m)
	}
	_, before := r.store.Digest()
	r.ok(&SeeMember{ID: "N1", Name: "b"})
	if _, after := r.store.Digest(); after != before {
		t.Error("nothing new, and the state changed")
	}
}

func TestRemoveMember(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.refused(CodeNotFound, &RemoveMember{ID: "N1"})
	r.ok(&SeeMember{ID: "N1", Name: "a"})
	r.ok(&RemoveMember{ID: "N1"})
	if m := r.store.View().Member("N1"); !m.Removed || m.Name != "a" || m.JoinedAt != start {
		t.Errorf("member is %+v", m)
	}
	_, before := r.store.Digest()
	r.ok(&RemoveMember{ID: "N1"})
	if _, after := r.store.Digest(); after != before {
		t.Error("nothing new, and the state changed")
	}
	r.refused(CodeFenced, &SeeMember{ID: "N1", Name: "a"})
}
