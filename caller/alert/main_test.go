package alert

import (
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
