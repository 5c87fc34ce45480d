"""What benchmarks/preprocess.py runs in processes of their own: a worker a contestant.

Each is called as `WORKER JOB.json`. The file has the keys `logs` (a CSV with header),
`numbers`, `categories` and `labels` (column names), `rows` (how many to read) and
`output` (a folder). What a worker writes there: TFRecords of tf.Example, shards named
`records-*.gz`, and `vocabulary/COLUMN`, a value a line in the order of the ids. On the
last line of its standard output stand its seconds, without imports.
"""
