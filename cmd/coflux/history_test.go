package main

import "testing"

func TestTimesAndSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"90d": 7_776_000_000, "1.5d": 129_600_000, "36h": 129_600_000, "5m": 300_000, "30s": 30_000, "0s": 0} {
		if got, err := timeOf(text); err != nil || got != want {
			t.Errorf("%s is %d ms, want %d (%v)", text, got, want, err)
		}
	}
	for text, want := range map[string]int64{"500M": 500 << 20, "20G": 20 << 30, "1.5k": 1536, "2GiB": 2 << 30, "7": 7, "1TB": 1 << 40} {
		if got, err := sizeOf(text); err != nil || got != want {
			t.Errorf("%s is %d bytes, want %d (%v)", text, got, want, err)
		}
	}
	for _, bad := range []string{"", "d", "-1d", "x", "5", "-5s"} {
		if got, err := timeOf(bad); err == nil {
			t.Errorf("time %q is %d", bad, got)
		}
	}
	for _, bad := range []string{"", "G", "-1", "1e30", "x"} {
		if got, err := sizeOf(bad); err == nil {
			t.Errorf("size %q is %d", bad, got)
		}
	}
	for ms, want := range map[int64]string{7_776_000_000: "90 days", 129_600_000: "36h", 300_000: "5m", 1000: "1s", 90_000: "1m30s", 5_400_000: "1h30m"} {
		if got := spanText(ms); got != want {
			t.Errorf("%d ms are %q, want %q", ms, got, want)
		}
	}
}
