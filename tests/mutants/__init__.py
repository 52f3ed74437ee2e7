"""Small changes to the code that the tests of its room ought to notice (docs/mutants.md)."""
