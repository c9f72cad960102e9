"""The torch operators of fragments."""
