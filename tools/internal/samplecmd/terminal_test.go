//go:build unix

package samplecmd

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/lemnos-ml/lemnos/internal/vktest"
)

// A terminal shows the characters that it would obey; elsewhere the text is as it is.
func TestTerminalObeysNoText(t *testing.T) {
	vktest.Open(t) // skips without a device
	screen, tty, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer screen.Close()
	args := []string{"-n", "1", "-tokenizer", "bytes", "-prompt", "1\x1b1", model}
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(screen) // until nobody has the other end
		shown <- string(text)
	}()
	err = sample(context.Background(), args, tty, io.Discard)
	tty.Close()
	if text := <-shown; err != nil || !strings.HasPrefix(text, "1\uFFFD1") || !strings.HasSuffix(text, "\r\n") {
		t.Errorf("the terminal has %q, %v", text, err)
	}
	var piped strings.Builder
	if err := sample(context.Background(), args, &piped, io.Discard); err != nil || !strings.HasPrefix(piped.String(), "1\x1b1") {
		t.Errorf("the pipe has %q, %v", piped.String(), err)
	}
}
