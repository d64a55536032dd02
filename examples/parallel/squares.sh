#!/bin/sh
# Numbers on stdin, their squares on stdout, each made by a process in a jail of its own, four at a time.
#
#   seq 40 | examples/parallel/squares.sh
#
# The jail is compiled once: each of the many starts takes no Python then. GNU parallel keeps the order (-k) and the
# statuses (--joblog); with xargs it is: xargs -P 4 -n 1 "$folder/square.jail". Its own exit status is the number of
# jobs that failed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
# shellcheck disable=SC2016 # the shell inside is to expand it
"${PYJAIL:-pyjail}" compile -o "$folder/square.jail" --timeout 10s -- sh -c 'echo $(($1 * $1))' sh
parallel --will-cite -j 4 -k --joblog "$folder/log" "$folder/square.jail"
