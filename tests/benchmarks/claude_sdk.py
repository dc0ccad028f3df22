"""Calls Claude's Agent SDK for each line on stdin, and answers with a line: `claude_sdk.py`.

A line is a JSON list of a function's name and its arguments. It is run by a Python that has `claude_agent_sdk`.
"""

import json
import sys
from importlib import import_module

sdk = import_module("claude_agent_sdk")
print("ready", flush=True)
for line in sys.stdin:
    name, arguments = json.loads(line)
    result = getattr(sdk, name)(**arguments)
    print(len(result or ()), flush=True)
