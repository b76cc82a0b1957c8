"""Stands in for Ray in tests of the guardian: put its folder in front of PYTHONPATH."""
