"""Probing: a dry run on copies, which asks of model, loss and data what must hold of any."""
