# Separation of duties: who asks does not decide, who decides has a role that was asked for, of their
# own or lent by somebody who is away, and is a person. So it is for who claims what is to be decided.
package dispatch

# Who claims an approval keeps the others from deciding: only who may decide may do so.

deny contains forbidden("SELF_APPROVAL", message, to_pass) if {
	input.operation in {"claim_approval", "decide_approval", "take_over_approval"}
	input.approval.requested_by == input.actor.id
	message := sprintf("The one who asked for an approval may not %s it.", [verb])
	to_pass := sprintf("Another person with role %s %s.", [concat(" or ", input.approval.required_roles), does])
}

deny contains forbidden("APPROVER_KIND", message, to_pass) if {
	input.operation in {"claim_approval", "decide_approval", "take_over_approval"}
	input.actor.kind != "person"
	message := sprintf("An approval is %s by people, not by a caller of kind %s.", [done, input.actor.kind])
	to_pass := sprintf("A person with role %s %s.", [concat(" or ", input.approval.required_roles), does])
}

deny contains forbidden("APPROVER_ROLE", message, to_pass) if {
	input.operation in {"claim_approval", "decide_approval", "take_over_approval"}
	required := input.approval.required_roles
	not has_required_role
	message := sprintf("This approval is to be %s by role %s.", [done, concat(" or ", required)])
	to_pass := sprintf("Call as a person with role %s.", [concat(" or ", required)])
}

words := {
	"claim_approval": ["claim", "claims it", "claimed"],
	"decide_approval": ["decide", "decides", "decided"],
	"take_over_approval": ["take over", "takes it over", "taken over"],
}

verb := words[input.operation][0]

does := words[input.operation][1]

done := words[input.operation][2]

has_required_role if {
	some role in input.approval.required_roles
	role in input.actor.roles
}

has_required_role if {
	some role in input.approval.required_roles
	role in lent_roles
}

# Whoever asked cannot lend what they may not use themselves.
lent_roles := {role |
	some loan in input.lent
	loan.from != input.approval.requested_by
	some role in loan.roles
}

# What is asked for is changed by the one who asks.
deny contains forbidden("AMEND_OTHERS", message, to_pass) if {
	input.operation == "amend_approval"
	input.approval.requested_by != input.actor.id
	message := "Only the one who asked for an approval may change what it asks for."
	to_pass := "Reject it, or withdraw it and ask for another."
}

deny contains forbidden("WITHDRAW_OTHERS", message, to_pass) if {
	input.operation == "withdraw_approval"
	input.approval.requested_by != input.actor.id
	not may_withdraw_others
	message := "Only the one who asked for an approval, a dispatcher or an administrator may withdraw it."
	to_pass := "Call as the one who asked, or as a person with role dispatcher or tenant_admin."
}

may_withdraw_others if {
	input.actor.kind == "person"
	some role in {"dispatcher", "tenant_admin"}
	role in input.actor.roles
}
