// Package page shows a run in a browser while it trains: its curves, samples, speed, memory
// and configuration, and the other runs of the same folder to compare it with.
//
//	p, err := page.Listen("127.0.0.1:0", cfg)
//	if err != nil {
//		return err // before anything is trained: the port is in use, say
//	}
//	fmt.Println("page:", p.URL())
//	p.Watch(&hooks, dev.Info()) // beside the hooks that are there
//	err = train.Run(ctx, dev, cfg, model, corpus, hooks)
//	p.Close(err) // the page says how the run ended, and keeps what it shows
//
// The page needs no network: all that it is made of is in the program. It is read-only, and
// answers GET and HEAD alone. A browser is told what is new by server-sent events and asks for
// what it has missed after a break. Training never waits for one: each connection takes
// the newest state when it can, and one that takes nothing for a while is closed.
//
// There is no password: who can reach the address can read the page, see [Page.Warning]. On a
// loopback address these are the users of this machine. Pages of other sites in the same browser
// are refused by their Origin and Sec-Fetch-Site, and names that were made to point here (DNS
// rebinding) by their Host. From another machine, a tunnel keeps it so:
//
//	ssh -L 8080:127.0.0.1:8080 machine
package page
