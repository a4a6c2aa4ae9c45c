"""Every point of a config's sweep(), each a run in its own directory."""
