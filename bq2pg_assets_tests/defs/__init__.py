"""Tests of the Dagster layer: on fakes of the engine where order and translation matter, on the
real stack where a run is controlled from outside."""
