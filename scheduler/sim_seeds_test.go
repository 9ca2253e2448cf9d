package scheduler_test

// keptSeeds are those of histories that once failed: they are played first, always. A seed that fails is added here. What it plays
// changes with the simulator, so a directed test of each bug is what lasts.
var keptSeeds = []uint64{7, 21, 98, 195, 1531, 1620, 6740}

// violation ends a history.
type violation struct{ error }
