"""The models: what turns a piece of text into ids."""
