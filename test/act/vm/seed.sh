#!/bin/sh
# Another program's view of our seed disk: usage: seed.sh TEST_SEED_PROGRAM
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" "$folder/seed.iso"
command -v xorriso > /dev/null || { echo "skipped: no xorriso"; exit 77; }
xorriso -indev "$folder/seed.iso" -osirrox on -extract / "$folder/out" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
grep -q "Volume id *: 'cidata'" "$folder/log"
[ "$(cd "$folder/out" && echo *)" = "meta-data network-config user-data" ]
grep -q '^local-hostname: kb-7$' "$folder/out/meta-data"
grep -q '^#cloud-config$' "$folder/out/user-data"
grep -q '"198.51.100.9/32"' "$folder/out/network-config"
