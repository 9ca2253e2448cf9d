package scheduler

// fallDue queues the executions whose time has come.
func (b *batch) fallDue() {
	for range maxDue {
		next := b.scratch.View().NextDue()
		if next == nil || next.ExecuteAfter > b.Now {
			return
		}
		err := b.try(func(d *decision) error {
			e := *next
			e.Due = true
			d.Put(&e)
			d.nowDue(e.ID())
			return nil
		})
		if err != nil {
			break
		}
	}
	b.out.More = true
}

// forget drops remembered requests that have expired, a few at a time: nobody waits for it.
func (b *batch) forget() {
	const few = 50
	_ = b.try(func(d *decision) error {
		n := 0
		for r := range d.ExpiredRequests() {
			if r.ExpiresAt > d.now || n == few {
				break
			}
			d.Delete(r)
			n++
		}
		return nil
	})
}
