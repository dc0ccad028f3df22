"""The fake is compared with real servers where there are some."""

from ..servers.agentos_process import are_installed

collect_ignore = () if are_installed() else ("test_agentos_fake.py",)
