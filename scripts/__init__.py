"""Benchmarks of this project, and tests that take too long for pytest."""
