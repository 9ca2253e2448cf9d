// Package layers holds the tests that keep the rooms of the repository apart: who may import whom, what is pure, how long.
package layers
