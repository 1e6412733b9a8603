package waf

// policiesMax bounds the policies remembered at once: more sites than that share the places.
const policiesMax = 256

// Policies remembers parsed policies by the id the host gave them. An id never changes its meaning.
type Policies struct {
	byID map[uint64]*Policy
}

// Get returns the policy with this id, asking `read` for its JSON only when it is not remembered.
func (c *Policies) Get(id uint64, read func() ([]byte, error)) (*Policy, error) {
	if p, ok := c.byID[id]; ok {
		return p, nil
	}
	data, err := read()
	if err != nil {
		return nil, err
	}
	p, err := ParsePolicy(data)
	if err != nil {
		return nil, err
	}
	if c.byID == nil || len(c.byID) >= policiesMax {
		c.byID = make(map[uint64]*Policy)
	}
	c.byID[id] = p
	return p, nil
}
