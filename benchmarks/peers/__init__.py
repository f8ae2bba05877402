"""Servers that others would write for the same callback, each in its own ecosystem's usual way."""
