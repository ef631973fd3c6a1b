package disk

import "golang.org/x/sys/windows"

// free returns what this user may write on the drive of a folder.
func free(folder string) (bytes uint64, err error) {
	path, err := windows.UTF16PtrFromString(folder)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(path, &bytes, nil, nil)
	}
	return bytes, err
}
