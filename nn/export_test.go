package nn

// How is what [ops.Graph.Sample] reads for the next choice of s.
func How(s *Sampler, logits, row int) ([]uint32, error) {
	c, err := s.choice(logits)
	if err != nil {
		return nil, err
	}
	if c.rate != 0 {
		c.random = s.draw()
	}
	how := make([]uint32, 8)
	c.write(how, row)
	return how, nil
}
