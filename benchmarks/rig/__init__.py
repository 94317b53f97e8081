"""What the benchmarks of a whole gate share: its processes, its credentials, load, and reports."""
