# Other systems than this one.

part_arm64() {
	has_command aarch64-linux-gnu-gcc || skip_outside_ci "aarch64-linux-gnu-gcc is missing"
	export GOOS=linux GOARCH=arm64 CGO_ENABLED=1 CC=aarch64-linux-gnu-gcc
	go vet ./...
	go build ./...
}

part_windows() {
	has_command x86_64-w64-mingw32-gcc || skip_outside_ci "x86_64-w64-mingw32-gcc is missing"
	export GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc
	go vet ./...
	go build ./...
}
