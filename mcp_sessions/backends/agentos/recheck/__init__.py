"""Pending writes: re-apply our writes when a finishing AgentOS run overwrites them."""
