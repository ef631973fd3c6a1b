# The page of a run in a headless Chromium: a module of its own, see train/page/testdata/browser.

part_page() {
	has_browser || skip_outside_ci "there is no chromium here"
	[[ -n $(lavapipe_icd) ]] || skip_outside_ci "there is no lavapipe here"
	cd train/page/testdata/browser
	go vet ./...
	on_device "$(lavapipe_icd)" go test -count=1 -vet=off -timeout 15m ./...
}
