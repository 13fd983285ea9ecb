#!/bin/sh
# The plan is pure: its archive asks for no clock, file, socket or heap. Anything that is not listed here is a failure.
set -eu
archive=$1
own=$(nm --defined-only "$archive" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
asked=$(nm -u "$archive" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u)
if [ -z "$own" ] || [ -z "$asked" ]; then
	echo "$archive: nm shows no symbols"
	exit 1
fi
bad=
for symbol in $asked; do
	case $symbol in
	mem* | __mem*_chk | str* | __assert_fail | __popcountdi2 | __popcountsi2 | __stack_chk_fail) continue ;;
	__asan_* | __ubsan_* | __sanitizer_* | __sancov_* | __start___sancov_* | __stop___sancov_*) continue ;;
	_GLOBAL_OFFSET_TABLE_) continue ;;
	esac
	printf '%s\n' "$own" | grep -qx "$symbol" || bad="$bad $symbol"
done
[ -z "$bad" ] || { echo "the plan asks for what is not pure:$bad"; exit 1; }
echo "pure: $(printf '%s\n' "$asked" | wc -l) symbols asked for, none of them reaches out"
