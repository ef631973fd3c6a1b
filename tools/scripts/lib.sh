# What the scripts here share: where drivers, layers and headers lie. Sourced in the repository's root.

has_command() { command -v "$1" >/dev/null 2>&1; }

# find_first prints the first argument that is a file.
find_first() {
	local f
	for f in "$@"; do
		if [[ -f $f ]]; then
			echo "$f"
			return
		fi
	done
}

has_loader() {
	[[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null) == *"libvulkan.so.1 "* ]] ||
		[[ -n $(find_first /usr/lib/*/libvulkan.so.1 /usr/lib/libvulkan.so.1 /usr/lib64/libvulkan.so.1 \
			/usr/local/lib/libvulkan.1.dylib /opt/homebrew/lib/libvulkan.1.dylib) ]]
}

# has_driver looks where the loader looks. It is content with any driver; the tools say when its device is not there.
has_driver() {
	[[ -n ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] ||
		[[ -n $(find_first {/usr/share,/etc,/usr/local/share,/usr/local/etc,/opt/homebrew/share,"$HOME"/.local/share}/vulkan/icd.d/*.json) ]]
}

lavapipe_icd() { find_first {/usr/share,/etc,/usr/local/share}/vulkan/icd.d/lvp_icd*.json; }

swiftshader_icd() {
	find_first "${LEMNOS_SWIFTSHADER:-}" "$PWD/.cache/swiftshader/vk_swiftshader_icd.json" \
		/usr/lib/chromium/vk_swiftshader_icd.json /opt/google/chrome/vk_swiftshader_icd.json
}

has_validation_layer() {
	[[ -n $(find_first {/usr/share,/etc,/usr/local/share}/vulkan/explicit_layer.d/VkLayer_khronos_validation.json) ]]
}

has_browser() { has_command chromium || has_command chromium-browser || has_command google-chrome; }

# window_files prints the Go files that are built only with the tag window.
window_files() {
	grep -rl --include='*.go' --exclude-dir=.git --exclude-dir=.cache --exclude-dir=house -E '^//go:build .*\bwindow\b' . || true
}

# missing_window_packages prints what a build with the tag window and its test under Xvfb lack, one per line.
missing_window_packages() {
	[[ -f /usr/include/X11/Xlib.h ]] || echo libx11-dev
	[[ -f /usr/include/X11/Xcursor/Xcursor.h ]] || echo libxcursor-dev
	[[ -f /usr/include/X11/extensions/Xrandr.h ]] || echo libxrandr-dev
	[[ -f /usr/include/X11/extensions/Xinerama.h ]] || echo libxinerama-dev
	[[ -f /usr/include/X11/extensions/XInput2.h ]] || echo libxi-dev
	[[ -f /usr/include/X11/extensions/xf86vmode.h ]] || echo libxxf86vm-dev
	[[ -f /usr/include/GL/gl.h ]] || echo libgl1-mesa-dev
	has_command pkg-config || echo pkg-config
	has_command Xvfb || echo xvfb
	has_command xauth || echo xauth
}
