"""From names to objects: what a recipe names is found, checked against its signature, and made."""
