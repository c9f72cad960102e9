"""Layers that keep their weights sparse."""
