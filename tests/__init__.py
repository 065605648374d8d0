"""The specification of Playhead, as tests. `make test` runs all of it; SOAK=1 adds the long runs."""
