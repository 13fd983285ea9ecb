#!/bin/sh
# What a guest makes of a seed with secrets: usage: seed.sh SEED.AWK FOLDER. Calls of koboshi-init's functions, each value quoted.
set -eu
awk -f "$1" -v what=user-data "$2/user-data" | diff "$2/user-data.calls" -
awk -f "$1" -v what=user-data "$2/user-data" | sh -n
