"""What a value of a log becomes: types of columns, texts, numbers, lists."""
