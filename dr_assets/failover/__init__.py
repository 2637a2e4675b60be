"""The decision whether the writer should move, from independent evidence."""
