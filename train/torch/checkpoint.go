package torch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/names"
)

// Checkpoint is a file that PyTorch wrote with torch.save in the form
//
//	{"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict(), "iteration": int}
//
// for torch.optim.AdamW or a class of its own that keeps the same state, or a state_dict alone, by itself or as
// model_state_dict, state_dict or model: then there is no State, and the Iteration is 0. No code of the file is executed.
// The tensors are read from the file when they are asked for, until Close.
type Checkpoint struct {
	Iteration int64
	Names     []string // of the model's tensors, in the order of the file
	Model     map[string]*Tensor
	State     map[int]State // by the number of the parameter; none for one that never had a gradient
	Groups    []Group

	path    string
	archive *archive
}

// State is what AdamW keeps for one parameter.
type State struct {
	Step             int64 // updates of this parameter so far
	ExpAvg, ExpAvgSq *Tensor
}

// Group is a group of parameters with its hyper-parameters.
type Group struct {
	Params                             []int // numbers of the parameters
	LR, Beta1, Beta2, Eps, WeightDecay float64
	// ParamNames are the names of Params where the file has them (PyTorch 2.6, optimizers made from named parameters).
	ParamNames []string
}

// Open opens a checkpoint that PyTorch wrote. All of the file that it uses is checked before it returns: that the
// pickle asks for nothing but what a checkpoint needs, that every tensor lies inside its values, and the checksums that
// the zip format has. The format of before PyTorch 1.6 is refused.
func Open(path string) (*Checkpoint, error) {
	archive, err := openArchive(path)
	if err != nil {
		return nil, err
	}
	c, err := archive.checkpoint(path)
	if err != nil {
		return nil, errors.Join(err, archive.close())
	}
	return c, nil
}

// checkpoint reads what is saved in the archive.
func (a *archive) checkpoint(path string) (*Checkpoint, error) {
	c := &Checkpoint{path: path, archive: a, Model: map[string]*Tensor{}, State: map[int]State{}}
	object, err := a.unpickle()
	if err = fault.Damaged(err); err == nil {
		err = fault.Unsupported(c.extract(object)) // it is whole, and holds something else
	}
	if err != nil {
		return nil, fmt.Errorf("torch: %s: %w", path, err)
	}
	return c, nil
}

// Close unmaps the file. The tensors can't be read after that.
func (c *Checkpoint) Close() error {
	if c.archive == nil {
		return nil
	}
	return c.archive.close()
}

func (c *Checkpoint) extract(object any) error {
	whole, ok := object.(*pickleDict)
	if !ok {
		return fmt.Errorf("the file holds %s, want a dict with model_state, or of tensors", describePickle(object))
	}
	if _, ok := whole.get("model_state"); !ok {
		return c.extractAlone(whole)
	}
	model, err := dictField(whole, "the file", "model_state")
	if err != nil {
		return err
	}
	if err := c.extractModel(model, "model_state"); err != nil {
		return err
	}
	optimizer, err := dictField(whole, "the file", "optimizer_state")
	if err != nil {
		return err
	}
	if c.Iteration, err = integer(whole, "iteration"); err != nil {
		return err
	}
	if len(optimizer.items) == 0 {
		return nil
	}
	return c.extractOptimizer(optimizer)
}

// extractAlone reads a model without its optimizer: the file is its state_dict, or
// has it under a name that is in use.
func (c *Checkpoint) extractAlone(whole *pickleDict) error {
	for _, key := range []string{"model_state_dict", "state_dict", "model"} {
		value, _ := whole.get(key)
		if model, ok := value.(*pickleDict); ok {
			return c.extractModel(model, key)
		}
	}
	if len(whole.items) == 0 {
		return errors.New("the file has no model_state, and no tensors")
	}
	return c.extractModel(whole, "the file has no model_state, and")
}

// extractModel reads a state_dict.
func (c *Checkpoint) extractModel(model *pickleDict, of string) error {
	for _, item := range model.items {
		name, ok := item.key.(string)
		t, isTensor := item.value.(*Tensor)
		if !ok || !isTensor || c.Model[name] != nil {
			return fmt.Errorf("%s has %s as %s: want one tensor for each name", of, describePickle(item.key), describePickle(item.value))
		}
		c.Names, c.Model[name] = append(c.Names, name), t
	}
	return nil
}

func (c *Checkpoint) extractOptimizer(optimizer *pickleDict) error {
	state, err := dictField(optimizer, "optimizer_state", "state")
	if err != nil {
		return err
	}
	groups, _ := optimizer.get("param_groups")
	list, ok := groups.(*pickleList)
	if !ok {
		return fmt.Errorf("optimizer_state: param_groups is %s, want a list", describePickle(groups))
	}
	seen := map[int]bool{}
	for i, item := range list.items {
		group, err := extractGroup(item, seen)
		if err != nil {
			return fmt.Errorf("optimizer_state: group %d: %w", i, err)
		}
		c.Groups = append(c.Groups, group)
	}
	for _, item := range state.items {
		index, ok := item.key.(int64)
		if !ok || !seen[int(index)] {
			return fmt.Errorf("optimizer_state: state of the parameter %s, which no group has", describePickle(item.key))
		}
		if _, ok := c.State[int(index)]; ok {
			return fmt.Errorf("optimizer_state: parameter %d has two states", index)
		}
		if c.State[int(index)], err = extractState(item.value); err != nil {
			return fmt.Errorf("optimizer_state: parameter %d: %w", index, err)
		}
	}
	return nil
}

// extractGroup reads a group and adds the numbers of its parameters to seen.
func extractGroup(v any, seen map[int]bool) (Group, error) {
	var g Group
	dict, ok := v.(*pickleDict)
	if !ok {
		return g, fmt.Errorf("it is %s, want a dict", describePickle(v))
	}
	for _, field := range []struct {
		name string
		at   *float64
	}{{"lr", &g.LR}, {"eps", &g.Eps}, {"weight_decay", &g.WeightDecay}} {
		value, _ := dict.get(field.name)
		if *field.at, ok = number(value); !ok {
			return g, fmt.Errorf("%s is %s, want a number", field.name, describePickle(value))
		}
	}
	value, _ := dict.get("betas")
	betas := pickleItems(value)
	if len(betas) != 2 {
		return g, fmt.Errorf("betas is %s, want two numbers", describePickle(value))
	}
	var ok1, ok2 bool
	g.Beta1, ok1 = number(betas[0])
	g.Beta2, ok2 = number(betas[1])
	if !ok1 || !ok2 {
		return g, fmt.Errorf("betas are %s and %s, want two numbers", describePickle(betas[0]), describePickle(betas[1]))
	}
	params, _ := dict.get("params")
	for _, item := range pickleItems(params) {
		index, ok := item.(int64)
		if !ok || index < 0 || index > math.MaxInt32 || seen[int(index)] {
			return g, fmt.Errorf("parameter %s is not a number, or is in two groups", describePickle(item))
		}
		seen[int(index)] = true
		g.Params = append(g.Params, int(index))
	}
	names, _ := dict.get("param_names")
	for _, item := range pickleItems(names) {
		name, _ := item.(string)
		g.ParamNames = append(g.ParamNames, name)
	}
	if len(g.ParamNames) != 0 && len(g.ParamNames) != len(g.Params) {
		return g, fmt.Errorf("%d param_names for %d parameters", len(g.ParamNames), len(g.Params))
	}
	for _, option := range []string{"amsgrad", "maximize"} {
		if on, _ := dict.get(option); on == true {
			return g, fmt.Errorf("%s is on, which is not supported", option)
		}
	}
	if decoupled, ok := dict.get("decoupled_weight_decay"); ok && decoupled == false && g.WeightDecay != 0 {
		return g, errors.New("the weight decay is not decoupled: it is Adam's, not AdamW's")
	}
	return g, nil
}

func extractState(v any) (State, error) {
	var s State
	dict, ok := v.(*pickleDict)
	if !ok {
		return s, fmt.Errorf("the state is %s, want a dict", describePickle(v))
	}
	var err error
	if s.Step, err = integer(dict, "step"); err != nil {
		return s, err
	}
	for _, field := range []struct {
		name string
		at   **Tensor
	}{{"exp_avg", &s.ExpAvg}, {"exp_avg_sq", &s.ExpAvgSq}} {
		value, _ := dict.get(field.name)
		if *field.at, ok = value.(*Tensor); !ok {
			return s, fmt.Errorf("%s is %s, want a tensor", field.name, describePickle(value))
		}
	}
	if !slices.Equal(s.ExpAvg.Shape, s.ExpAvgSq.Shape) {
		return s, fmt.Errorf("exp_avg has shape %v, exp_avg_sq %v", s.ExpAvg.Shape, s.ExpAvgSq.Shape)
	}
	return s, nil
}

// StateByName returns the optimizer's state by the names of the parameters. The file knows parameters by number only:
// order lists those of all groups, one group after the other. With nil, they are taken from the file where it has them;
// else, for a single group, they are the floating-point tensors of the model in the order of the file, each tied one
// once. That is right for an optimizer made of model.parameters() and a model without floating-point buffers; a count
// or a shape that differs is an error.
func (c *Checkpoint) StateByName(order []string) (map[string]State, error) {
	var params []int
	var known []string
	for _, g := range c.Groups {
		params, known = append(params, g.Params...), append(known, g.ParamNames...)
	}
	if order == nil {
		switch {
		case len(known) == len(params):
			order = known
		case len(c.Groups) == 1:
			order = c.parameters()
		default:
			return nil, fault.Mismatchedf("torch: %s: the optimizer has %d groups and no names: say the names of its parameters", c.path, len(c.Groups))
		}
	}
	if len(order) != len(params) {
		return nil, fault.Mismatchedf("torch: %s: %d names for the optimizer's %d parameters: say the names of its parameters (%s)",
			c.path, len(order), len(params), strings.Join(order, ", "))
	}
	states := map[string]State{}
	for i, index := range params {
		name, ok := names.Unwrap(order[i], func(name string) (string, bool) { return name, c.Model[name] != nil })
		t := c.Model[name]
		if _, twice := states[name]; !ok || twice {
			return nil, fault.Mismatchedf("torch: %s: optimizer parameter %d is called %q, which is no tensor of the model or used twice", c.path, index, order[i])
		}
		s, ok := c.State[index]
		if !ok {
			continue
		}
		if !slices.Equal(s.ExpAvg.Shape, t.Shape) {
			return nil, fault.Mismatchedf("torch: %s: tensor %q has shape %v, its optimizer state (parameter %d) %v", c.path, name, t.Shape, index, s.ExpAvg.Shape)
		}
		states[name] = s
	}
	return states, nil
}

// parameters returns the names of the tensors that can be parameters, tied ones once.
func (c *Checkpoint) parameters() []string {
	type place struct {
		storage *storage
		offset  int64
	}
	seen := map[place]bool{}
	var all []string
	for _, name := range c.Names {
		t := c.Model[name]
		at := place{t.storage, t.offset}
		if seen[at] && t.Len() > 0 || !strings.Contains(t.DType, "F") || names.Ignored(name, t.Shape) {
			continue
		}
		seen[at] = true
		all = append(all, name)
	}
	return all
}

// dictField returns the dict that a dict has under a key.
func dictField(dict *pickleDict, of, key string) (*pickleDict, error) {
	value, ok := dict.get(key)
	if !ok {
		return nil, fmt.Errorf("%s has no %s", of, key)
	}
	inner, ok := value.(*pickleDict)
	if !ok {
		return nil, fmt.Errorf("%s of %s is %s, want a dict", key, of, describePickle(value))
	}
	return inner, nil
}

// pickleItems returns the items of a tuple or a list.
func pickleItems(v any) []any {
	switch v := v.(type) {
	case pickleTuple:
		return v
	case *pickleList:
		return v.items
	}
	return nil
}

// integer returns the integer that a dict has under a key, as int or as a tensor without dimensions, at least 0.
func integer(dict *pickleDict, key string) (int64, error) {
	value, ok := dict.get(key)
	if !ok {
		return 0, fmt.Errorf("%s is missing", key)
	}
	if n, ok := value.(int64); ok && n >= 0 {
		return n, nil
	}
	if x, ok := number(value); ok && x >= 0 && x < 1<<53 && x == math.Trunc(x) {
		return int64(x), nil
	}
	return 0, fmt.Errorf("%s is %s, want an integer of at least 0", key, describePickle(value))
}

// number returns a number, given as such or as a tensor without dimensions.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case *Tensor:
		if v.Len() != 1 {
			return 0, false
		}
		if v.DType == "I64" {
			var b [8]byte
			_, err := io.ReadFull(v.Open(), b[:])
			return float64(int64(binary.LittleEndian.Uint64(b[:]))), err == nil
		}
		values, err := v.Floats()
		if err != nil {
			return 0, false
		}
		return float64(values[0]), true
	}
	return 0, false
}
