"""The plugins that come along with nnhooks; each file is one, and uses only what anyone may use."""
