"""A run: one execution of a recipe, from its folder to its exit code."""
