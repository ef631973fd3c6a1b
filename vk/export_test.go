package vk

// OmitBarriers makes End plan no barriers from now on.
func OmitBarriers() { omitBarriers = true }

// Unmap takes the mapping away from a buffer, as it is on a card with memory of its own.
func Unmap(b *Buffer) { b.mapped = nil }
