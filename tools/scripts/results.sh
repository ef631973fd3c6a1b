#!/usr/bin/env bash
# Makes README's table of what is in tools/bench/results, and first puts what a bundle measured there, when it is given:
#
#   results.sh [results.tar.gz device]
#
# device names the file: h200-580 of an H200 and its driver, say.
set -euo pipefail
folder=$(cd "$(dirname "$0")/../.." && pwd)
results=$folder/tools/bench/results

if (($# == 2)); then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	tar -xzf "$1" -C "$work"
	measured=$(find "$work" -name products.json -o -name steps.json -o -name kernels.json)
	[[ -n $measured ]] || { echo "results.sh: $1 has no measurements" >&2; exit 1; }
	xargs cat <<<"$measured" >"$results/$2.json"
fi
cd "$folder"
TABLE=$(go run ./tools/bench -results "$results")
export TABLE
# It is the table whose first heading is empty.
awk '
	/^\|  \|/ { print ENVIRON["TABLE"]; inside = 1 }
	inside && !/^\|/ { inside = 0 }
	!inside
' README.md >README.md.new
mv README.md.new README.md
