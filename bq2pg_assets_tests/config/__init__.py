"""Tests of what the user writes: YAML, overlays, environment variables, and the words of errors."""
