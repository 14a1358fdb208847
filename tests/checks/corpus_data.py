"""Programs of the corpus."""
