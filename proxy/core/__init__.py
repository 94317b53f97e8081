"""The pure core: no I/O, no clock, no log; `now` is passed in."""
