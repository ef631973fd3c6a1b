package hf

import (
	"testing"

	"github.com/lemnos-ml/lemnos/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }
