package ops_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// Every operation takes a nil tensor for what it is: the graph's error, no panic.
func TestNilTensors(t *testing.T) {
	dev := vktest.Open(t)
	// Biases, weights, and questions.
	optional := map[string]bool{"Linear3": true, "RMSNorm2": true, "NeedsGrad1": true, "NeedsGrad0": true, "Grad1": true, "Grad0": true, "SumOf1": true, "SumOf0": true}
	tensor := reflect.TypeFor[*ops.Tensor]()
	var methods []reflect.Method
	for _, of := range []reflect.Type{reflect.TypeFor[*ops.Graph](), reflect.TypeFor[ops.Updater]()} {
		for i := range of.NumMethod() {
			methods = append(methods, of.Method(i))
		}
	}
	for _, method := range methods {
		var at []int // of the tensors
		for j := 1; j < method.Type.NumIn(); j++ {
			if method.Type.In(j) == tensor {
				at = append(at, j)
			}
		}
		for _, absent := range append(at, 0) { // one of them, or all
			if len(at) == 0 {
				continue
			}
			g := ops.NewGraph(dev)
			args := []reflect.Value{reflect.ValueOf(g)}
			if method.Type.In(0) != args[0].Type() {
				args[0] = reflect.ValueOf(g.Updater())
			}
			for j := 1; j < method.Type.NumIn(); j++ {
				arg := reflect.New(method.Type.In(j)).Elem()
				switch {
				case arg.Type() == tensor && absent != 0 && j != absent:
					arg.Set(reflect.ValueOf(g.Input("x", ops.F32, 2, 4)))
				case arg.CanInt():
					arg.SetInt(1)
				case arg.CanFloat():
					arg.SetFloat(0.5)
				}
				args = append(args, arg)
			}
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s with argument %d nil panics: %v", method.Name, absent, p)
					}
				}()
				if method.Type.IsVariadic() {
					method.Func.CallSlice(args)
				} else {
					method.Func.Call(args)
				}
				if g.Err() == nil && !optional[fmt.Sprint(method.Name, absent)] {
					t.Errorf("%s with argument %d nil is no error", method.Name, absent)
				}
			}()
			g.Release()
		}
	}
}
