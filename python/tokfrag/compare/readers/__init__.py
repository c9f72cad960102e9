"""Readers of the user's files, one form each; every one refuses with the path and the line."""
