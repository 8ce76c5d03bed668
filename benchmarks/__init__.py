"""Speed and memory of rootlm beside its peers: every contestant in its own process, interleaved, medians."""
