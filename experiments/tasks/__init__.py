"""What a kind of problem decides."""
