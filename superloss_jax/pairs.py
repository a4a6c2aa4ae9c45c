"""Methods for two networks, over losses of shape (2, batch)."""
