package mapi

// RuleActions is a PtypRuleAction: what a rule does, MS-OXORULE §2.2.5.
type RuleActions []RuleAction

// RuleAction is one ActionBlock, MS-OXORULE §2.2.5.1.
type RuleAction struct {
	Kind   uint8  // ActionType: 0x01 OP_MOVE, 0x02 OP_COPY, ...
	Flavor uint32 // ActionFlavor
	Flags  uint32 // ActionFlags
	Data   []byte // ActionData, as Kind says
}

// Type is PtypRuleAction.
func (RuleActions) Type() Type { return PtypRuleAction }

// actionHead is how many octets of an ActionBlock are in front of its data.
const actionHead = 9

func (d *Decoder) ruleActions() Value {
	actions := RuleActions{}
	for range d.counted(d.count(), 2+actionHead) {
		size := d.count()
		action := RuleAction{Kind: d.Uint8(), Flavor: d.Uint32(), Flags: d.Uint32()}
		if size < actionHead {
			d.fail(ErrCount)
		}
		action.Data = d.Bytes(size - actionHead)
		if d.err != nil {
			return nil
		}
		actions = append(actions, action)
	}
	return actions
}

func (e *Encoder) ruleActions(actions RuleActions) {
	e.count(len(actions))
	for _, a := range actions {
		e.count(actionHead + len(a.Data))
		e.Uint8(a.Kind)
		e.Uint32(a.Flavor)
		e.Uint32(a.Flags)
		e.Bytes(a.Data)
	}
}
