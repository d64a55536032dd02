"""A service in Python: numbers in, one a line; their mean and median out, as JSON. Its limits are in the file
beside it.

    printf '%s\n' 1 2 6 | pyjail service run examples/services/mean.py
"""

import statistics


def handler(req, res):
    try:
        numbers = [float(line) for line in req.text().split()]
    except ValueError as error:
        res.status = 400
        return {"error": str(error)}
    if not numbers:
        res.status = 400
        return {"error": "no numbers came"}
    return {"mean": statistics.fmean(numbers), "median": statistics.median(numbers)}
