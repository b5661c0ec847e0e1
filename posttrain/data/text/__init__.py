"""What can be asked of a text, or of a column of texts: plain functions that know no rows and no rules."""
