"""The output of a tool: results fitted to a model's context, and rendered."""
