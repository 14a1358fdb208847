"""Watching: what any PyTorch loop does, told by torch's own hooks, and judged by checks."""
