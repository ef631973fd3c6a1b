package benchcmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/vk"
)

// onHost is a sequence of whose logits the host chooses.
type onHost struct{ nn.Sequence }

// decodeStep measures a token of a text of the likeliest tokens, which must be those that the host chooses.
func decodeStep(dev *vk.Device, m model) (*stepRow, error) {
	ctx := context.Background()
	t, err := m.transformer(dev)
	if err != nil {
		return nil, err
	}
	defer t.Params().Release()
	d, err := t.NewDecoder(m.cfg.Context)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	text := func(s nn.Sequence, n int) (ids []int32, err error) {
		err = nn.Generate(ctx, s, &nn.Sampler{}, []int32{0}, n, func(id int32) error {
			ids = append(ids, id)
			return nil
		})
		return ids, err
	}
	want, err := text(onHost{d}, min(m.cfg.Context, 100))
	if err != nil {
		return nil, err
	}
	wrong := ""
	least := time.Duration(math.MaxInt64)
	for start, n := time.Now(), 0; n < 1 || n < 50 && time.Since(start) < m.patience(dev); n++ {
		from := time.Now()
		ids, err := text(d, m.cfg.Context)
		if err != nil {
			return nil, err
		}
		if least = min(least, time.Since(from)/time.Duration(len(ids))); !slices.Equal(ids[:len(want)], want) {
			wrong = fmt.Sprintf("the device chose %v, the host %v", ids[:len(want)], want)
		}
	}
	host := time.Duration(math.MaxInt64)
	for range 10 {
		from := time.Now()
		if err := d.Step().Run(); err != nil {
			return nil, err
		}
		host = min(host, time.Since(from))
		if err := d.Step().Wait(ctx); err != nil {
			return nil, err
		}
	}
	row, err := m.row(ctx, d.Step(), least)
	if err != nil {
		return nil, err
	}
	row.Wrong, row.Host, row.TokensPerSec = wrong, float64(host), 1/least.Seconds()
	return row, nil
}
