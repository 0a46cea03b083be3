"""What users of other libraries ran into, each a promise of this one; the numbers are those of the list of pitfalls."""
