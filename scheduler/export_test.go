package scheduler

// LimitSweep makes sweeps change at most n rows in the batch.
func LimitSweep(in *Input, n int) { in.sweepLimit, in.eraseLimit = n, n }

// TouchAssets has assets say up to within so many milliseconds when they were used.
func TouchAssets(in *Input, ms int64) { in.assetTouch = ms }
