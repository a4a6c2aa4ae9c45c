"""What finished runs say: tables, figures, a page."""
