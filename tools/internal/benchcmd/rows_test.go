package benchcmd

import "testing"

// A row is known by its name and shape, which fit into their columns, on every kind of device; a processor is spared the long ones
// until -run asks.
func TestRows(t *testing.T) {
	count := func(c config) (n int) {
		t.Helper()
		kernels, steps := chosen(c)
		seen := map[string]bool{}
		add := func(name, shape string) {
			if seen[name+" "+shape] {
				t.Errorf("%+v: %s %s is there twice", c, name, shape)
			}
			seen[name+" "+shape] = true
			n++
		}
		for _, k := range kernels {
			for _, p := range k.parts {
				add(p.name, k.shape)
				if len(p.name) > 28 || len(k.shape) > 20 {
					t.Errorf("%q %q is too wide for the table", p.name, k.shape)
				}
				if (p.bytes > 0) == (p.flops > 0) {
					t.Errorf("%s %s has %g bytes and %g FLOPs, want one of them", p.name, k.shape, p.bytes, p.flops)
				}
			}
		}
		for _, m := range steps {
			add(m.name, m.shape())
		}
		return n
	}
	short, asked, gpu := count(config{mib: 64}), count(config{mib: 64, run: "."}), count(config{mib: 64, gpu: true})
	if !(short < asked/2) || gpu < asked {
		t.Errorf("%d rows on a processor, %d where all are asked for, %d on a GPU", short, asked, gpu)
	}
	count(config{mib: 1024, gpu: true})
	count(config{quick: true, mib: 1})
}
