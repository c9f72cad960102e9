"""The cuts: how samples become pieces."""
