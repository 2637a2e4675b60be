"""Lost writes: the rows of a former writer that did not reach its successor."""
