#!/usr/bin/env bash
# Builds the archives of a release from the last commit, for Linux on amd64 and arm64 and for Windows on amd64, with the licences
# of what is inside, a bill of materials for each (CycloneDX), and the checksums of all.
#
#   release.sh [folder [target...]]     dist, and all targets: linux-amd64 linux-arm64 windows-amd64
#
# The same commit, tags, Go and C compilers make the same bytes, wherever the folder is. What is not committed is not in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

bom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
glibc=2.34 # the least that the program for Linux may need: Debian 12, Ubuntu 22.04, Fedora 35, RHEL 9

out=${1:-dist}
targets=("${@:2}")
((${#targets[@]} > 0)) || targets=(linux-amd64 linux-arm64 windows-amd64)
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TZ=UTC LC_ALL=C SOURCE_DATE_EPOCH
umask 022
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)

# A clone: Go stamps version and commit into a program that is built where nothing is changed.
git clone -q --shared . "$work/source"
cd "$work/source"
export GOFLAGS="-trimpath -buildvcs=true"

GOBIN=$work/bin CGO_ENABLED=0 go install "$bom"

# licences FOLDER collects those of the modules in the program, and Go's own.
licences() {
	local path dir files file
	install -D -m 644 "$(go env GOROOT)/LICENSE" "$1/go/LICENSE"
	while read -r path dir; do
		files=$(cd "$dir" && find . -maxdepth 2 -type f | grep -iE '^\./(licenses?/.*|(un)?licen[cs]e[^/]*|copying[^/]*|notice[^/]*|patents)$' | sort)
		[[ -n $files ]] || { echo "release: module $path has no licence" >&2; return 1; }
		for file in $files; do install -D -m 644 "$dir/$file" "$1/$path/$file"; done
	done < <(go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./tools/lemnos | sort -u)
}

# newest_glibc prints the newest version of glibc that a program wants something of.
newest_glibc() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 | cut -d _ -f 2; }

build() {
	local target=$1 program=lemnos version name needs
	export GOOS=${target%-*} GOARCH=${target#*-} CGO_ENABLED=1 CC=gcc
	case $target in
	linux-amd64) ;;
	linux-arm64) CC=aarch64-linux-gnu-gcc ;;
	windows-amd64) CC=x86_64-w64-mingw32-gcc program=lemnos.exe ;;
	*) echo "release: no target $target" >&2; return 2 ;;
	esac
	go build -ldflags='-s -w' -o "$work/$program" ./tools/lemnos
	version=$(go version -m "$work/$program" | awk '$1 == "mod" { print $3 }')
	name=lemnos-$version-$target
	mkdir "$work/$name"
	mv "$work/$program" "$work/$name/"
	if [[ $GOOS == linux ]]; then
		needs=$(newest_glibc "$work/$name/$program")
		echo "$name needs glibc $needs"
		[[ $(printf '%s\n' "$needs" "$glibc" | sort -V | tail -n 1) == "$glibc" ]] || { echo "release: glibc $needs is newer than $glibc" >&2; return 1; }
	fi
	licences "$work/$name/licenses"
	install -m 644 README.md LICENSE CHANGELOG.md "$work/$name/"
	"$work/bin/cyclonedx-gomod" bin -json -noserial -notimestamp -version "$version" -output "$out/$name.cdx.json" "$work/$name/$program" 2>"$work/log" ||
		{ cat "$work/log" >&2; return 1; }
	find "$work/$name" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
	if [[ $GOOS == windows ]]; then
		(cd "$work" && find "$name" -type f | sort | zip -q -X "$out/$name.zip" -@)
	else
		tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name" | gzip -n -9 >"$out/$name.tar.gz"
	fi
}

rm -f "$out"/lemnos-v* "$out/SHA256SUMS"
for target in "${targets[@]}"; do (build "$target"); done
cd "$out"
sha256sum lemnos-v* >SHA256SUMS
cat SHA256SUMS
