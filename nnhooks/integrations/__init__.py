"""The same checks inside other trainers: `nnhooks.integrations.lightning` and `.transformers`."""
