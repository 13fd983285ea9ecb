#!/bin/sh
# nft takes what `koboshi mud compile` prints, twice in a row, and the sets can be filled; in a network namespace of its own.
# usage: nft.sh KOBOSHI FILE
set -eu
if [ "$(id -u)" != 0 ]; then
	echo "needs root for a network namespace: skipped"
	exit 77
fi
[ "${3:-}" = inside ] || exec unshare --net "$0" "$1" "$2" inside
for outside in count limit cut; do
	"$1" mud compile "$2" kb7 $outside | nft -f -
	nft add element inet mud_kb7 name_0_v4 '{ 192.0.2.9 timeout 60s }'
	"$1" mud compile "$2" kb7 $outside | nft -f -
	[ "$(nft list table inet mud_kb7 | grep -c '192.0.2.9')" = 0 ] # a fresh table
done
nft list table inet mud_kb7 | grep -q 'ct direction reply'
[ "$(nft list tables | wc -l)" = 1 ]
