package vk

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Ticket names a submission; later submissions have larger tickets. The zero Ticket is always done.
type Ticket uint64

// inFlight is how many submissions may run at a time; Submit waits for the oldest beyond that.
const inFlight = 16

// fence is one slot of the ring: the submission with ticket t signals slot t % inFlight.
type fence struct {
	handle vulkan.Fence
	ticket Ticket // the last submission that uses it; 0: none
}

// condemned is an object to destroy when the submissions up to ticket are done.
type condemned struct {
	ticket  Ticket
	buffer  *Buffer
	program *Program
}

func (d *Device) createFences() error {
	for i := range d.fences {
		info := vulkan.FenceCreateInfo{SType: vulkan.StructureTypeFenceCreateInfo}
		var handle vulkan.Fence
		result := vulkan.CreateFence(d.handle, &info, nil, &handle)
		info.Free()
		if result != vulkan.Success {
			return d.check(result, "vkCreateFence", "")
		}
		d.fences[i].handle = handle
	}
	return nil
}

// growBatch makes room for n command buffers in one submission.
func (d *Device) growBatch(n int) {
	if n <= len(d.batch) {
		return
	}
	if d.batch != nil {
		freeC(unsafe.Pointer(&d.batch[0]))
	}
	d.batch = cArray[vulkan.CommandBuffer](max(n, 2*len(d.batch), 16))
}

// Submit runs the programs in order: as one vkQueueSubmit, or where that would keep the device for more than
// half a second, as several (see Program.Settle). It returns at once, except when 16 submissions are running:
// then it waits for the oldest. It allocates no Go memory, once the programs are settled.
func (d *Device) Submit(ps ...*Program) (Ticket, error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	if len(ps) == 0 {
		return d.submitted, nil
	}
	if d.compileOnly {
		return 0, fmt.Errorf("vk: submit: %w", errCompileOnly)
	}
	segments := 0
	for i, p := range ps {
		err := p.submittable(d)
		if err == nil {
			err = p.Settle(context.Background())
		}
		if err != nil {
			return 0, fmt.Errorf("vk: submit: program %d of %d: %w", i, len(ps), err)
		}
		segments += len(p.segments)
	}
	d.growBatch(segments)
	if len(d.condemned) > 0 {
		d.collect()
	}
	t, err := d.submitSegments(ps)
	if err != nil {
		return 0, err
	}
	for _, p := range ps {
		p.last, p.ran = t, true
	}
	return t, nil
}

// submitSegments submits what is under the budget together. The last submission is the one that is waited for.
func (d *Device) submitSegments(ps []*Program) (Ticket, error) {
	n, parts := 0, 0
	var nanos float64
	for _, p := range ps {
		for _, s := range p.segments {
			if n > 0 && nanos+s.nanos > submissionBudget {
				if result := d.submit(nil, n); result != vulkan.Success {
					return 0, d.abandon(d.check(result, "vkQueueSubmit", ""), parts)
				}
				n, nanos, parts = 0, 0, parts+1
			}
			d.batch[n] = s.cmd
			n, nanos = n+1, nanos+s.nanos
		}
	}
	t, err := d.submitBatch(n)
	if err != nil {
		return 0, d.abandon(err, parts)
	}
	return t, nil
}

// abandon waits for the parts of a submission that are on their way, as no ticket is theirs.
func (d *Device) abandon(err error, parts int) error {
	if parts > 0 {
		d.check(vulkan.QueueWaitIdle(d.queue), "vkQueueWaitIdle", "")
	}
	return err
}

// submitBatch submits the first n command buffers of d.batch, with a ticket.
func (d *Device) submitBatch(n int) (Ticket, error) {
	t := d.submitted + 1
	slot := &d.fences[t%inFlight]
	if err := d.WaitTicket(context.Background(), slot.ticket); err != nil {
		return 0, err
	}
	slot.ticket = 0 // until the submission succeeds nothing will signal the fence
	if result := d.submit(slot.handle, n); result != vulkan.Success {
		return 0, d.check(result, "vkQueueSubmit", "")
	}
	slot.ticket, d.submitted = t, t
	return t, nil
}

// Done says whether the submission has ended. It does not wait. On a lost device nothing more ends.
func (d *Device) Done(t Ticket) bool {
	if t > d.completed && d.usable() == nil {
		d.poll()
	}
	return t <= d.completed
}

// poll moves completed over the fences that have signaled.
func (d *Device) poll() {
	for d.completed < d.submitted {
		t := d.completed + 1
		result := d.fenceStatus(d.fences[t%inFlight].handle)
		if result != vulkan.Success {
			if result != vulkan.NotReady {
				d.check(result, "vkGetFenceStatus", "")
			}
			return
		}
		d.completed = t
	}
}

// WaitTicket waits until the submission has ended, or ctx has. What its programs wrote is then visible
// in Bytes.
func (d *Device) WaitTicket(ctx context.Context, t Ticket) error {
	if err := d.usable(); err != nil {
		return err
	}
	if t > d.submitted {
		return fmt.Errorf("vk: wait for ticket %d: the last submission is %d", t, d.submitted)
	}
	// Vulkan cannot wait for a context too, so the wait is cut into slices; the first are short, since
	// most waits are.
	slice := time.Second
	if ctx.Done() != nil {
		slice = 200 * time.Microsecond
	}
	for t > d.completed {
		result := d.waitFence(d.fences[t%inFlight].handle, uint64(slice))
		switch result {
		case vulkan.Success:
			d.completed = t // one queue: all earlier submissions have ended too
		case vulkan.Timeout:
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("vk: wait for ticket %d: %w", t, err)
			}
			if ctx.Done() != nil {
				slice = min(2*slice, 5*time.Millisecond)
			}
		default:
			return d.check(result, "vkWaitForFences", "")
		}
	}
	return nil
}

// Wait waits for all submitted work, or until ctx ends.
func (d *Device) Wait(ctx context.Context) error {
	if err := d.WaitTicket(ctx, d.submitted); err != nil {
		return err
	}
	d.collect()
	return nil
}

// condemn destroys an object now, or when the work submitted so far is done.
func (d *Device) condemn(c condemned) {
	c.ticket = d.submitted
	d.condemned = append(d.condemned, c)
	d.collect()
}

// collect destroys the condemned objects whose time has come. On a lost device they wait for Close.
func (d *Device) collect() {
	if len(d.condemned) == 0 || d.usable() != nil {
		return
	}
	d.poll()
	n := 0
	for n < len(d.condemned) && d.condemned[n].ticket <= d.completed {
		if c := d.condemned[n]; c.buffer != nil {
			d.destroyBuffer(c.buffer)
		} else {
			d.destroyProgram(c.program)
		}
		n++
	}
	d.condemned = append(d.condemned[:0], d.condemned[n:]...)
}

// runOnce records, submits and waits for one command of the device's own.
func (d *Device) runOnce(ctx context.Context, record func(vulkan.CommandBuffer)) error {
	// The command buffer is the only one of its kind: its last use must be over, even where a canceled
	// wait left it running.
	if err := d.WaitTicket(ctx, d.submitted); err != nil {
		return err
	}
	cmd := d.once
	if err := d.begin(cmd, vulkan.CommandBufferUsageOneTimeSubmitBit); err != nil {
		return err
	}
	cmdBarrier(cmd, deviceWrites, deviceUses)
	record(cmd)
	if err := d.end(cmd); err != nil {
		return err
	}
	d.batch[0] = cmd
	t, err := d.submitBatch(1)
	if err != nil {
		return err
	}
	return d.WaitTicket(ctx, t)
}

// barrierSide is one half of a memory barrier.
type barrierSide struct{ stages, access uint32 }

const (
	stageCompute  = uint32(vulkan.PipelineStageComputeShaderBit)
	stageTransfer = uint32(vulkan.PipelineStageTransferBit)
	shaderRead    = uint32(vulkan.AccessShaderReadBit)
	shaderWrite   = uint32(vulkan.AccessShaderWriteBit)
	transferRead  = uint32(vulkan.AccessTransferReadBit)
	transferWrite = uint32(vulkan.AccessTransferWriteBit)
)

var (
	deviceWrites = barrierSide{stageCompute | stageTransfer, shaderWrite | transferWrite}
	deviceUses   = barrierSide{stageCompute | stageTransfer, shaderRead | shaderWrite | transferRead | transferWrite}
	hostReads    = barrierSide{uint32(vulkan.PipelineStageHostBit), uint32(vulkan.AccessHostReadBit)}
)

func (d *Device) begin(cmd vulkan.CommandBuffer, usage vulkan.CommandBufferUsageFlagBits) error {
	info := vulkan.CommandBufferBeginInfo{
		SType: vulkan.StructureTypeCommandBufferBeginInfo,
		Flags: vulkan.CommandBufferUsageFlags(usage),
	}
	result := vulkan.BeginCommandBuffer(cmd, &info)
	info.Free()
	return d.check(result, "vkBeginCommandBuffer", "")
}

// end makes the writes visible to the host and closes the recording.
func (d *Device) end(cmd vulkan.CommandBuffer) error {
	cmdBarrier(cmd, deviceWrites, hostReads)
	return d.check(vulkan.EndCommandBuffer(cmd), "vkEndCommandBuffer", "")
}
