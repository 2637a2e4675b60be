"""IAM kinds (role, policy attachment, inline policy), and the rows of the enhanced-monitoring role."""
