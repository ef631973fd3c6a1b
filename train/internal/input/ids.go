package input

import "encoding/json"

// IDs are ids of tokens: null, one, or a list in Hugging Face's files.
type IDs []int32

// UnmarshalJSON implements json.Unmarshaler.
func (l *IDs) UnmarshalJSON(data []byte) error {
	var one *int32
	if json.Unmarshal(data, &one) == nil {
		if *l = nil; one != nil {
			*l = IDs{*one}
		}
		return nil
	}
	if json.Unmarshal(data, (*[]int32)(l)) != nil {
		return Mismatch[IDs](data)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (l IDs) MarshalJSON() ([]byte, error) {
	switch len(l) {
	case 0:
		return []byte("null"), nil
	case 1:
		return json.Marshal(l[0])
	}
	return json.Marshal([]int32(l))
}

// Wanted implements [Wanted].
func (IDs) Wanted() string { return "an id or a list of ids" }
