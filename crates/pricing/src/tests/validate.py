"""An independent reading of price files: Python's TOML parser, and the
jsonschema package for the schema. Standard input is a JSON object with the
schema and a list of texts; the answer is a list of true, false and, where the
text is no TOML, null."""
import datetime
import json
import sys
import tomllib

import jsonschema


def plain(value):
    """Days as text: JSON has none."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, (datetime.date, datetime.time, datetime.datetime)):
        return value.isoformat()
    return value


job = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(job["schema"])
validator = jsonschema.Draft202012Validator(job["schema"])


def verdict(text):
    try:
        document = plain(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return validator.is_valid(document)


json.dump([verdict(text) for text in job["texts"]], sys.stdout)
