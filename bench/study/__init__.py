"""Studies: variants of rows beside each other, and this paper's own. Nothing outside this room imports it."""
