package traincmd

import (
	"fmt"
	"io"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/page"
)

// openPage serves the page of the run and prints where. Without an address, or a run, there is none: nil.
func openPage(o options, cfg train.Config, out io.Writer) (*page.Page, error) {
	if o.http == "" || o.plan {
		return nil, nil
	}
	p, err := page.Listen(o.http, cfg)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "page: %s\n", p.URL())
	if warning := p.Warning(); warning != "" {
		fmt.Fprintf(out, "warning: %s\n", warning)
	}
	return p, nil
}

// beside returns a listener that tells the page too.
func beside(l *data.Listener, p *page.Page) *data.Listener {
	if p == nil {
		return l
	}
	return &data.Listener{Logger: l.Logger, Phase: func(now data.Phase) {
		l.Phase(now)
		p.Phase(now)
	}}
}
