"""DuckDB's side of the benchmark: loads columns of 64-bit integers from a file
and answers lines on stdin, so that the runs of both sides can alternate.

    sums.py FILE ROWS COLUMN...
    -> ready VERSION
    exact | double   -> seconds and the sums, over all rows
    first N          -> the exact sums over the first rows
    fractions N      -> the same rows in plain Python fractions, in the units
                        of the bill
"""

import sys
import time
from fractions import Fraction
from math import ceil
from pathlib import Path

try:
    import duckdb
    import numpy
except ImportError:
    print("skipped: DuckDB is not here: pip install duckdb numpy", flush=True)
    sys.exit()

MIB = 1 << 20


def quantities(rows):
    """What the price models say, and nothing of how it is computed elsewhere."""
    aws = gb = ghz = azure = cycles = cpu = Fraction(0)
    # https://cloud.google.com/functions/pricing: MB, GB and GHz of each size.
    sizes = [(128, "1/8", "0.2"), (256, "1/4", "0.4"), (512, "1/2", "0.8"), (1024, "1", "1.4"),
             (2048, "2", "2.4"), (4096, "4", "4.8"), (8192, "8", "4.8")]
    for row in rows:
        seconds = Fraction(row["run_ns"], 10**9)
        lambda_ms = ceil((Fraction(row["start_ns"], 10**9) + seconds) * 1000)
        lambda_mib = max(ceil(Fraction(row["memory"], MIB)), 128)
        aws += Fraction(lambda_mib, 1024) * Fraction(lambda_ms, 1000)
        size = next(size for size in sizes if row["memory"] <= size[0] * MIB)
        tenths = Fraction(ceil(seconds * 10), 10)
        gb += Fraction(size[1]) * tenths
        ghz += Fraction(size[2]) * tenths
        observed = min(max(ceil(Fraction(row["peak"], 128 * MIB)), 1), 12)
        azure += Fraction(observed, 8) * Fraction(max(ceil(seconds * 1000), 100), 1000)
        cycles += row["cycles"]
        cpu += Fraction(row["cpu_ns"], 10**6)
    return [Fraction(len(rows)), aws, gb, ghz, azure, cycles, cpu]


def main():
    path, rows, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    whole = numpy.fromfile(path, dtype=numpy.int64).reshape(len(names), rows)
    columns = dict(zip(names, whole))
    here = Path(__file__).parent
    sql = {kind: (here / f"{kind}.sql").read_text() for kind in ("exact", "double")}
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute("CREATE TABLE usage AS SELECT * FROM columns")
    first = {name: values[:100_000].copy() for name, values in columns.items()}
    del columns, whole
    print("ready", duckdb.__version__, flush=True)
    for line in sys.stdin:
        command, *count = line.split()
        if command == "fractions":
            lists = [first[name][: int(count[0])].tolist() for name in names]
            found = quantities([dict(zip(names, row)) for row in zip(*lists)])
            print(*found, flush=True)
        elif command == "first":
            some = f"(SELECT * FROM usage LIMIT {int(count[0])})"
            query = sql["exact"].replace("FROM usage", f"FROM {some}")
            print(*connection.execute(query).fetchone(), flush=True)
        else:
            begun = time.perf_counter()
            sums = connection.execute(sql[command]).fetchone()
            print(time.perf_counter() - begun, *sums, flush=True)


main()
