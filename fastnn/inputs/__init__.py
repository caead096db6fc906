"""What the caller hands in, checked, in the form that every target reads."""
