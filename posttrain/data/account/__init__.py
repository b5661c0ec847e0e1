"""The account of every row: what became of it and why, and what people have said of it."""
