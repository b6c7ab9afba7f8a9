"""The engine without a server: pure modules, and the flow on fakes."""
