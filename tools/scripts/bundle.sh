#!/usr/bin/env bash
# Makes bundle/: a run script and an archive of the sources' folders with a stripped test binary in each whose tests open a
# device, the tools, and the loader (for machines that have a driver and no loader). For a machine with a GPU and without Go.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

limit_mib=40
export GOFLAGS="${GOFLAGS:-} -buildvcs=false -trimpath"
flags=(-ldflags="-s -w -X github.com/lemnos-ml/lemnos/tools/internal/benchcmd.commit=$(git rev-parse --short=7 HEAD)")

rm -rf bundle
mkdir bundle
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/lib"

# Tests read their testdata, and some the sources beside them.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	if [[ -f $f ]]; then cp --parents "$f" "$work/"; fi
done

tests=$(grep -l --include='*_test.go' -r 'vktest\.' . --exclude-dir=.cache | xargs -n 1 dirname | sort -u)
for folder in $tests; do
	folder=${folder#./}
	go test -c "${flags[@]}" -o "$work/$folder/$(basename "$folder").test" "./$folder"
	echo "$folder"
done >"$work/TESTS"

for tool in bench train devices; do go build "${flags[@]}" -o "$work/bin/$tool" "./tools/$tool"; done
loader=$(find_first /usr/lib/*/libvulkan.so.1 /usr/lib64/libvulkan.so.1 /usr/lib/libvulkan.so.1)
[[ -z $loader ]] || cp -L "$loader" "$work/lib/"
# The binaries have the kernels and most packages in common, too far apart for any but a large dictionary.
tar -C "$work" -cf - . | xz --threads=1 --lzma2=preset=2,dict=192MiB >bundle/files.tar.xz
cp tools/scripts/bundle_run.sh bundle/run

size=$(du -sm bundle | cut -f 1)
echo "bundle/: $(wc -l <"$work/TESTS") test binaries, $(find "$work/bin" -type f | wc -l) tools, $size MiB; run it with: bash bundle/run"
((size <= limit_mib)) || { echo "bundle: $size MiB, $limit_mib are too many" >&2; exit 1; }
