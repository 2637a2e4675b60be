"""KMS keys, aliases and key policies: kinds and rows."""
