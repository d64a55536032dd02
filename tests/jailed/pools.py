"""What the tests of pools have before their own code."""

PRELUDE = """
from jail import Pool, runners
def captured(pool, argv, code=None, **options):
    options.setdefault("stdin", DEVNULL)
    done = pool.run(argv, code=code, capture_output=True, text=True, **options)
    return [done.status, done.exit_code, done.stdout, done.stderr]
def attempt(*args, **options):
    try:
        return captured(*args, **options)
    except jail.JailError as error:
        return [type(error).__name__, str(error)]
"""
