"""Fragments one batch after another: datasets, sliding windows, stitching."""
