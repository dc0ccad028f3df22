"""Layers: backends around other backends of any system, such as a read-only one or several as one."""
