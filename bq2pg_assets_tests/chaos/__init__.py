"""Faults at every step of every mode, and what is left of them after the next run."""
