package hf

import (
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/nn"
)

// tensor is one tensor of a Hugging Face model: parameters of ours, one after
// the other along the outputs.
type tensor struct {
	name  string
	shape []int
	ours  []string
	// conv1D: the matrix is stored as (inputs, outputs), as GPT-2's Conv1D has it.
	conv1D bool
	// heads of queries or keys whose rows follow each other as RoPE pairs them;
	// Llama's files have the first halves of all pairs, then the second. 0: as is.
	heads int
}

// ourShape is the shape of each parameter in t.ours.
func (t tensor) ourShape() []int {
	shape := slices.Clone(t.shape)
	if t.conv1D {
		slices.Reverse(shape)
	}
	shape[0] /= len(t.ours)
	return shape
}

// split returns part i of a tensor's values as ours.
func split[T any](t tensor, theirs []T, i int) []T {
	n := len(theirs) / len(t.ours)
	if !t.conv1D {
		return theirs[i*n : (i+1)*n]
	}
	outputs := t.shape[1] / len(t.ours)
	ours := make([]T, 0, n)
	for o := i * outputs; o < (i+1)*outputs; o++ {
		for at := o; at < len(theirs); at += t.shape[1] {
			ours = append(ours, theirs[at])
		}
	}
	return ours
}

// join is the inverse of split, with all parts one after the other in ours.
func join[T any](t tensor, ours []T) []T {
	switch {
	case t.conv1D:
		inputs := t.shape[0]
		theirs := make([]T, 0, len(ours))
		for i := range inputs {
			for at := i; at < len(ours); at += inputs {
				theirs = append(theirs, ours[at])
			}
		}
		return theirs
	case t.heads > 0:
		row := len(ours) / t.shape[0]
		size := t.shape[0] / t.heads
		theirs := make([]T, 0, len(ours))
		for head := range t.heads {
			for half := range 2 {
				for at := head*size + half; at < (head+1)*size; at += 2 {
					theirs = append(theirs, ours[at*row:(at+1)*row]...)
				}
			}
		}
		return theirs
	}
	return ours
}

// gpt2Layout lists the tensors of a GPT2LMHeadModel. Its files always have
// biases; ours may do without.
func gpt2Layout(c nn.TransformerConfig) []tensor {
	const base = "transformer."
	all := []tensor{
		{name: base + "wte.weight", shape: []int{c.Vocab, c.Width}, ours: []string{"token_embeddings.weight"}},
		{name: base + "wpe.weight", shape: []int{c.Context, c.Width}, ours: []string{"position_embeddings.weight"}},
	}
	norm := func(theirs, ours string) {
		for _, end := range []string{".weight", ".bias"} {
			all = append(all, tensor{name: base + theirs + end, shape: []int{c.Width}, ours: []string{ours + end}})
		}
	}
	linear := func(theirs string, inputs, outputs int, ours ...string) {
		weight := tensor{name: base + theirs + ".weight", shape: []int{inputs, outputs}, conv1D: true}
		bias := tensor{name: base + theirs + ".bias", shape: []int{outputs}}
		for _, name := range ours {
			weight.ours, bias.ours = append(weight.ours, name+".weight"), append(bias.ours, name+".bias")
		}
		all = append(all, weight, bias)
	}
	for i := range c.Layers {
		theirs, ours := fmt.Sprintf("h.%d.", i), fmt.Sprintf("layers.%d.", i)
		norm(theirs+"ln_1", ours+"ln1")
		linear(theirs+"attn.c_attn", c.Width, 3*c.Width, ours+"attn.q_proj", ours+"attn.k_proj", ours+"attn.v_proj")
		linear(theirs+"attn.c_proj", c.Width, c.Width, ours+"attn.output_proj")
		norm(theirs+"ln_2", ours+"ln2")
		linear(theirs+"mlp.c_fc", c.Width, c.FFN, ours+"ffn.w1")
		linear(theirs+"mlp.c_proj", c.FFN, c.Width, ours+"ffn.w2")
	}
	norm("ln_f", "ln_final")
	return append(all, headLayout(c)...)
}

// llamaLayout lists the tensors of a LlamaForCausalLM.
func llamaLayout(c nn.TransformerConfig) []tensor {
	const base = "model."
	all := []tensor{{name: base + "embed_tokens.weight", shape: []int{c.Vocab, c.Width}, ours: []string{"token_embeddings.weight"}}}
	norm := func(theirs, ours string) {
		all = append(all, tensor{name: base + theirs + ".weight", shape: []int{c.Width}, ours: []string{ours + ".weight"}})
	}
	linear := func(theirs, ours string, inputs, outputs, heads int) {
		if c.Positions == "rope_half" {
			heads = 0
		}
		all = append(all, tensor{name: base + theirs + ".weight", shape: []int{outputs, inputs}, ours: []string{ours + ".weight"}, heads: heads})
		if c.Bias {
			all = append(all, tensor{name: base + theirs + ".bias", shape: []int{outputs}, ours: []string{ours + ".bias"}, heads: heads})
		}
	}
	c = c.Resolved()
	q, kv := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize
	for i := range c.Layers {
		theirs, ours := fmt.Sprintf("layers.%d.", i), fmt.Sprintf("layers.%d.", i)
		norm(theirs+"input_layernorm", ours+"ln1")
		linear(theirs+"self_attn.q_proj", ours+"attn.q_proj", c.Width, q, c.Heads)
		linear(theirs+"self_attn.k_proj", ours+"attn.k_proj", c.Width, kv, c.KVHeads)
		linear(theirs+"self_attn.v_proj", ours+"attn.v_proj", c.Width, kv, 0)
		linear(theirs+"self_attn.o_proj", ours+"attn.output_proj", q, c.Width, 0)
		norm(theirs+"post_attention_layernorm", ours+"ln2")
		linear(theirs+"mlp.gate_proj", ours+"ffn.w1", c.Width, c.FFN, 0)
		linear(theirs+"mlp.up_proj", ours+"ffn.w3", c.Width, c.FFN, 0)
		linear(theirs+"mlp.down_proj", ours+"ffn.w2", c.FFN, c.Width, 0)
	}
	norm("norm", "ln_final")
	return append(all, headLayout(c)...)
}

const headName = "lm_head.weight" // theirs and ours

// headLayout is the output head where it is not the token embedding.
func headLayout(c nn.TransformerConfig) []tensor {
	if c.Tied {
		return nil
	}
	return []tensor{{name: headName, shape: []int{c.Vocab, c.Width}, ours: []string{headName}}}
}
