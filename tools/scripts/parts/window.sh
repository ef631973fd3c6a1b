# The files with the tag window: they need X11 and OpenGL to build, and an X server to run.

part_window() {
	local folders lack
	mapfile -t folders < <(window_files | xargs -n 1 dirname | sort -u)
	lack=$(missing_window_packages | paste -sd ' ')
	[[ -z $lack ]] || skip_outside_ci "the window needs $lack"
	go vet -tags window ./...
	go run "$staticcheck" -tags window ./...
	on_device "$(lavapipe_icd)" xvfb-run -a -s "-screen 0 1280x1024x24 -noreset" \
		go test -count=1 -vet=off -timeout 15m -tags window "${folders[@]}"
}
