"""The proof: what payplat promises, put to the test until something gives."""
