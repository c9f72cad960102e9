"""A report as a page or a picture."""
