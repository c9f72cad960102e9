"""Chat templates: messages written as one text, in a sandbox."""
