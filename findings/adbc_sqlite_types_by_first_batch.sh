#!/bin/sh
# adbc-driver-sqlite 1.8: a column's type is guessed from the first 1,024 rows, whatever the table declares.
#
# Guess: a column declared REAL is read as float64.
# Seen: when its first 1,024 values are NULL the column is read as int64, and the first float after them is an error.
# Hurts: reports over a ledger, where a column (feedback, say) is empty for the first thousands of rows.
# Remedy: `adbc.sqlite.query.batch_rows` larger than the table, or `COALESCE(column, 0.0)` in the query.
# Source: the driver infers per batch; observed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  adbc-driver-manager==1.8.0 adbc-driver-sqlite==1.8.0 pyarrow==21.0.0
"$folder/venv/bin/python" - "$folder/ledger.db" <<'PYTHON'
import sqlite3
import sys

import adbc_driver_sqlite.dbapi as adbc

with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("CREATE TABLE requests (score REAL)")
    connection.executemany("INSERT INTO requests VALUES (?)", [(None,)] * 1024 + [(0.5,)])


def read(rows: int | None) -> str:
    with adbc.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
        if rows:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(rows)})
        try:
            cursor.execute("SELECT score FROM requests")
            table = cursor.fetch_arrow_table()
            return f"{table.schema.field('score').type}, last value {table['score'][-1]}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"


seen = read(None), read(2048)
print("as it is:", seen[0])
print("with batches of 2,048 rows:", seen[1])
assert "Error" in seen[0] and seen[1] == "double, last value 0.5", "the behaviour has changed"
PYTHON
