"""Backends: one folder for each system that stores sessions, and the modules that any backend may use."""
