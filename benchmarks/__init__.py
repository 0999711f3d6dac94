"""Benchmarks of the three packages against other libraries: `make bench`."""
