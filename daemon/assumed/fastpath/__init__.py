"""Commands that programs start often, with almost no imports."""
