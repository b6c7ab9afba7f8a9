"""Tests of the local stack itself, on real servers."""
