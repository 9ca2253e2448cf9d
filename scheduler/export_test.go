package scheduler

// LimitSweep makes sweeps change at most n rows in the batch.
func LimitSweep(in *Input, n int) { in.sweepLimit, in.eraseLimit = n, n }
