"""The IAM policy language: documents, conditions and AWS's evaluation logic. Pure: knows no service and no state."""
