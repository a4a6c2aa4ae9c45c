"""Measurements of this project, and tests too long for pytest."""
