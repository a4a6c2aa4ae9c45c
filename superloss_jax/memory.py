"""Methods that remember what they saw of each example in earlier epochs."""
