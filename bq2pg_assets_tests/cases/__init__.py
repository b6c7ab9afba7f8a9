"""Golden data of the tests."""
