"""Commands that SDKs and shell prompts start often, with almost no imports; see README.md."""
