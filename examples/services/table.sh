#!/bin/sh
# Any program is a service. This one counts the words of its body, after a head of its own on descriptor 3.
#
#   echo 'to be or not to be' | pyjail service run --param most=2 examples/services/table.sh
#
# The parameter is data: no shell reads it as code, whatever it holds, as long as it stands in double quotes.
set -eu

echo '{"type": "head", "status": 200, "headers": {"Content-Type": "text/plain"}}' >&3
tr -cs '[:alpha:]' '\n' | sort | uniq -c | sort -rn | head -n "${PYJAIL_PARAM_MOST:-10}"
