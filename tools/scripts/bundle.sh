#!/usr/bin/env bash
# Makes bundle/: a run script and an archive of the sources' folders with a stripped test binary in each, the tools, and
# the loader (for machines that have a driver and no loader). For a machine with a GPU and without Go.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

limit_mib=60
export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"
flags=(-ldflags='-s -w')
module=$(go list -m)

rm -rf bundle
mkdir bundle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/lib"

# Tests read their testdata, and some the sources beside them.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	if [[ -f $f ]]; then cp --parents "$f" "$work/"; fi
done

# The house is about sources, not devices.
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while IFS= read -r package; do
	folder=${package#"$module/"}
	[[ -n $folder && $folder != tools/house ]] || continue
	go test -c "${flags[@]}" -o "$work/$folder/$(basename "$folder").test" "./$folder"
	echo "$folder/$(basename "$folder").test"
done >"$work/TESTS"

for tool in bench train devices; do go build "${flags[@]}" -o "$work/bin/$tool" "./tools/$tool"; done
loader=$(find_first /usr/lib/*/libvulkan.so.1 /usr/lib64/libvulkan.so.1 /usr/lib/libvulkan.so.1)
[[ -z $loader ]] || cp -L "$loader" "$work/lib/"
tar -C "$work" -czf bundle/files.tar.gz .
cp tools/scripts/bundle_run.sh bundle/run

size=$(du -sm bundle | cut -f 1)
echo "bundle/: $(wc -l <"$work/TESTS") test binaries, $(find "$work/bin" -type f | wc -l) tools, $size MiB; run it with: bash bundle/run"
((size < limit_mib)) || { echo "bundle: $size MiB, $limit_mib are too many" >&2; exit 1; }
