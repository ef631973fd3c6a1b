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

// Pick is the choice of s, which has a temperature, from logits by a random number.
func Pick(s *Sampler, logits []float32, random uint32) (int32, error) {
	c, err := s.choice(len(logits))
	if err != nil {
		return 0, err
	}
	best, err := likeliest(logits)
	c.random = random
	return s.pick(logits, best, c), err
}
