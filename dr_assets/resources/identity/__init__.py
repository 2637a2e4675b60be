"""IAM roles and policies of the stack: kinds and rows."""
