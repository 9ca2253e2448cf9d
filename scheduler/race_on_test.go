//go:build race

package scheduler_test

// raceEnabled makes the simulator run fewer histories.
const raceEnabled = true
