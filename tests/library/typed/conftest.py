"""The script is read by type checkers, and never run."""

collect_ignore = ["user_script.py"]
