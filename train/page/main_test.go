package page

import (
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }
