"""How a result is made to fit a model's context, and how it is rendered."""
