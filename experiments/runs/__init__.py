"""What training leaves behind, and sweep and report read."""
